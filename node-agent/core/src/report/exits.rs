//! What the node's tunnels hear of their exits.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use postern_crds::node_report::ExitReport;
use postern_plan::desired::used_interface;

use super::ReportInputs;
use crate::tunnel_health::latest_handshake;

/// A handshake this old is none: WireGuard makes a new one every two minutes while traffic flows.
const HANDSHAKE: SignedDuration = SignedDuration::from_secs(180);

impl ReportInputs<'_> {
    /// Handshakes are stamped with the wall clock, and are compared with nothing else.
    pub(super) fn exit_reports(&self) -> Vec<ExitReport> {
        let (Some(body), Some(read_back)) = (self.in_force.body, self.read_back) else {
            return Vec::new();
        };
        let wall = self.time.wall;
        let routes = body.routes.iter();
        routes
            .filter_map(|route| {
                let device = used_interface(body, &route.exit)?;
                let tunnel = read_back.observed().tunnels.get(device);
                let handshake = tunnel.and_then(latest_handshake);
                let fresh = handshake.is_some_and(|at| wall.duration_since(at) < HANDSHAKE);
                Some(ExitReport {
                    exit: route.exit.to_string(),
                    last_handshake: handshake.map(MicroTime),
                    healthy: fresh && !self.run.tunnels.is_unanswered(device),
                })
            })
            .collect()
    }
}
