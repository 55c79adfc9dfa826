//! What the node's tunnels hear of their exits.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use postern_crds::node_report::ExitReport;
use postern_host::Host;
use postern_plan::desired::used_interface;

use crate::agent::Agent;

/// A handshake this old is none: WireGuard makes a new one every two minutes while traffic flows.
const HANDSHAKE: SignedDuration = SignedDuration::from_secs(180);

impl<H: Host> Agent<H> {
    /// Handshakes are stamped with the wall clock, and are compared with nothing else.
    pub(super) fn exit_reports(&self) -> Vec<ExitReport> {
        let (Some(body), Some(read_back)) = (self.body(), &self.last.read_back) else {
            return Vec::new();
        };
        let now = Timestamp::now();
        body.routes
            .iter()
            .filter_map(|route| {
                let device = used_interface(body, &route.exit)?;
                let tunnel = read_back.observed().tunnels.get(device);
                let handshake = tunnel
                    .and_then(|t| t.peers.iter().filter_map(|peer| peer.last_handshake).max());
                let fresh = handshake.is_some_and(|at| now.duration_since(at) < HANDSHAKE);
                Some(ExitReport {
                    exit: route.exit.to_string(),
                    last_handshake: handshake.map(MicroTime),
                    healthy: fresh && !self.last.tunnels.is_unanswered(device),
                })
            })
            .collect()
    }
}
