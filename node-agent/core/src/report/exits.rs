//! What the node's tunnels hear of their exits.

use std::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use postern_crds::node_report::{ExitReport, SERVED_LISTED, ServedReport};
use postern_intent::body::{ExitGateway, ExitRoute, ServedExit};
use postern_intent::{Body, IfName};
use postern_plan::desired::used_interface;
use postern_plan::order::Stage;

use super::ReportInputs;
use crate::probe::{GatewayReach, ProbeAnswer};
use crate::read_back::ReadBack;
use crate::scope_reading::{WayReading, way_reading};
use crate::tunnel_health::handshake_with;

/// A handshake this old is none: WireGuard makes a new one every two minutes while traffic flows.
const HANDSHAKE: SignedDuration = SignedDuration::from_secs(180);

impl ReportInputs<'_> {
    /// Handshakes are stamped with the wall clock, and are compared with nothing else.
    #[must_use]
    pub fn exit_reports(&self) -> Vec<ExitReport> {
        let Some((read_back, body)) = self.read_back.and_then(|one| Some((one, one.body()?)))
        else {
            return Vec::new();
        };
        let wall = self.time.wall;
        let routes = body.routes.iter();
        routes
            .filter_map(|route| {
                let device = used_interface(body, &route.exit)?;
                let tunnel = read_back.observed().tunnels.get(device);
                let gateway = &route.gateways.first()?.node;
                let handshake = tunnel.and_then(|tunnel| handshake_with(body, tunnel, gateway));
                let is_fresh = |at| wall.duration_since(at) < HANDSHAKE;
                let fresh = handshake.filter(|at| is_fresh(*at));
                Some(ExitReport {
                    gateway: stands(read_back, device).then(|| gateway.to_string()),
                    answering: self.answering(route),
                    exit: route.exit.to_string(),
                    digest: stands(read_back, device).then(|| route.digest.to_string()),
                    mtu: mtu(read_back, device),
                    paths: self.used_paths(body, route, handshake),
                    last_handshake: handshake.map(MicroTime),
                    healthy: stands(read_back, device)
                        // Pods of a gateway leave by its own uplink where it is its turn.
                        && (*gateway == body.node.name || self.gets_through(route, device, fresh)),
                })
            })
            .collect()
    }

    /// Do packets get through the gateway in use? Its last handshake decides where no echo was answered or given up yet.
    fn gets_through(
        &self,
        route: &ExitRoute,
        device: &IfName,
        fresh_handshake: Option<Timestamp>,
    ) -> bool {
        let Some(gateway) = route.gateways.first().map(|gateway| &gateway.node) else {
            return false;
        };
        let probes = self.run.probes;
        let answers = match probes.gateway(&route.exit, gateway) {
            ProbeAnswer::Answers => true,
            ProbeAnswer::Silent => false,
            ProbeAnswer::Untested | ProbeAnswer::Unanswered => fresh_handshake.is_some(),
        };
        answers
            && probes.reach(&route.exit, gateway) != GatewayReach::DeadEnd
            && !self.run.tunnels.is_unanswered(device)
    }

    fn answering(&self, route: &ExitRoute) -> u32 {
        let probes = self.run.probes;
        let answers = |gateway: &&ExitGateway| {
            let reach = probes.reach(&route.exit, &gateway.node);
            matches!(reach, GatewayReach::Answers { .. } | GatewayReach::Late)
        };
        let answering = route.gateways.iter().filter(answers).count();
        u32::try_from(answering).unwrap_or(u32::MAX)
    }

    /// The exits of which this node is a gateway, in the body that was read back.
    pub(super) fn served_reports(&self) -> Vec<ServedReport> {
        let Some((read_back, body)) = self.read_back.and_then(|one| Some((one, one.body()?)))
        else {
            return Vec::new();
        };
        let served = body.nat.iter().take(SERVED_LISTED);
        served
            .map(|exit| ServedReport {
                exit: exit.exit.to_string(),
                digest: serves(read_back, body, exit).then(|| exit.digest.to_string()),
                mtu: mtu(read_back, &exit.interface),
                server: self.server(exit).map(|server| server.to_string()),
                paths: self.served_paths(exit),
            })
            .collect()
    }

    /// Where the server of an external exit is.
    pub(super) fn server(&self, exit: &ServedExit) -> Option<SocketAddr> {
        let device = exit.uplink.as_ref()?;
        self.setup.facts.sessions.get(device).copied().flatten()
    }
}

/// Do the devices stand by which the exit is served?
fn serves(read_back: &ReadBack, body: &Body, exit: &ServedExit) -> bool {
    let session = body.external_session(&exit.exit);
    stands(read_back, &exit.interface)
        && session.is_none_or(|session| stands(read_back, &session.interface))
}

/// Do the exit's device, routes and rules stand as the body says?
fn stands(read_back: &ReadBack, device: &IfName) -> bool {
    let is_read = read_back.is_read(Stage::Route) && read_back.is_read(Stage::Link);
    is_read && way_reading(read_back.differences(), Some(device)) == WayReading::Whole
}

/// The MTU of the device as the kernel has it, whatever the body asks for.
fn mtu(read_back: &ReadBack, device: &IfName) -> Option<u32> {
    let mut links = read_back.observed().links.iter();
    let link = links.find(|link| link.name == device.as_str());
    link.map(|link| link.mtu)
}
