//! The status of each scope after a run, and which scopes may use the node's uplink.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use postern_agent_core::exit_loss::{Moment, UplinkRule};
use postern_agent_core::posture::scope_posture;
use postern_agent_core::scope_reading::{
    ExitSigns, LeaseReading, TunnelMeans, WayReading, exit_reading, scope_device, way_reading,
};
use postern_agent_core::{ExitLoss, ExitReading, ReadBack, ScopeReading, ScopeStatus};
use postern_crds::node_report::Posture;
use postern_host::Host;
use postern_intent::body::{EgressPath, Scope, ScopeFailureMode};
use postern_intent::{Body, ScopeId};
use postern_plan::Observed;
use postern_plan::check::Seal;
use postern_plan::order::Stage;

use super::state::{Agent, Track};
use crate::audit::Entry;

impl<H: Host> Agent<H> {
    /// The status of every scope of the body that the kernel was read for. A scope that it no longer names is let go
    /// once the guard that does not know it was read back.
    pub fn update_scopes(&mut self, now: Timestamp) {
        let Some(read_back) = self.kernel.last.read_back.clone() else {
            return;
        };
        let mut named = BTreeSet::new();
        if let Some(body) = read_back.body() {
            for scope in &body.firewall {
                named.insert(&scope.id);
                self.update_scope(&read_back, body, scope, now);
            }
        }
        let tracked = self.kernel.scopes.keys();
        let gone: Vec<ScopeId> = tracked.filter(|id| !named.contains(id)).cloned().collect();
        for id in gone {
            self.set_status(&id, ScopeStatus::Releasing, now);
            if read_back.seal() == Seal::Sealed {
                self.set_status(&id, ScopeStatus::Unclaimed, now);
                self.kernel.scopes.remove(&id);
            }
        }
    }

    fn update_scope(&mut self, read_back: &ReadBack, body: &Body, scope: &Scope, now: Timestamp) {
        let exit = match read_back.is_read(Stage::Link) {
            true => self.exit_reading(body, scope, read_back.observed()),
            false => ExitReading::Unread,
        };
        // From the rules that were read back, and not from what the run wanted: nft may have refused to close the uplink.
        let ruleset = &read_back.desired().ruleset;
        let uplink =
            match scope_posture(body, scope, ruleset, read_back.seal(), LeaseReading::Stands) {
                Posture::Open => UplinkRule::Open,
                Posture::Sealed | Posture::TunnelOnly => UplinkRule::Closed,
            };
        let moment = Moment {
            instant: Instant::now(),
            time: now,
        };
        let loss = self.loss(&scope.id);
        let loss = loss.next(exit, uplink, scope.failure, moment);
        let way = match read_back.is_read(Stage::Route) {
            true => way_reading(read_back.differences(), scope_device(body, scope)),
            false => WayReading::Differs,
        };
        let status = ScopeStatus::of(
            &scope.way,
            &ScopeReading {
                seal: read_back.seal(),
                lease: self.lease_reading(),
                exit,
                loss,
                way,
            },
        )
        .under(scope.terms.enforcement);
        self.set_status(&scope.id, status, now);
        if let Some(track) = self.kernel.scopes.get_mut(&scope.id) {
            track.loss = loss;
        }
    }

    fn exit_reading(&self, body: &Body, scope: &Scope, observed: &Observed) -> ExitReading {
        let facts = &self.kernel.facts;
        if scope.way == EgressPath::NodeUplink && facts.uplink(None).is_none() {
            return ExitReading::NoUplink;
        }
        let means = match facts.tunnel_backend {
            Some(_) => TunnelMeans::Present,
            None => TunnelMeans::Absent,
        };
        let signs = ExitSigns {
            handshakes: &self.kernel.last.tunnels,
            probes: &self.kernel.last.probes,
        };
        exit_reading(body, scope, observed, signs, means)
    }

    fn loss(&self, id: &ScopeId) -> ExitLoss {
        self.kernel
            .scopes
            .get(id)
            .map_or(ExitLoss::Carries, |track| track.loss)
    }

    /// Which scopes may use the node's uplink, by what is remembered of their exit, the body and what a reading shows.
    ///
    /// It is asked before anything is written: an exit that came back, or a body that no longer allows it, closes the
    /// uplink in the run that finds it so. The status follows when the run is over, and so never says more than the
    /// kernel keeps. An exit that could not be read is as lost as it was.
    pub fn may_be_open(&self, observed: &Observed, gaps: &BTreeSet<Stage>) -> BTreeSet<ScopeId> {
        let Some(body) = self.body().filter(|_| !self.is_expired()) else {
            return BTreeSet::new();
        };
        body.firewall
            .iter()
            .filter(|scope| matches!(scope.failure, ScopeFailureMode::Open { .. }))
            // Only a tunnel can be lost: a scope that the body blocks, or sends out on this node, is never opened.
            .filter(|scope| scope.way == EgressPath::Tunnel)
            .filter(|scope| self.loss(&scope.id).is_failed_open())
            .filter(|scope| {
                gaps.contains(&Stage::Link)
                    || self.exit_reading(body, scope, observed) != ExitReading::Carries
            })
            .map(|scope| scope.id.clone())
            .collect()
    }

    /// A status that changed is one line in the audit log.
    pub fn set_status(&mut self, id: &ScopeId, status: ScopeStatus, now: Timestamp) {
        let track = self.kernel.scopes.entry(id.clone()).or_insert(Track {
            status: ScopeStatus::Unclaimed,
            loss: ExitLoss::Carries,
        });
        let before = std::mem::replace(&mut track.status, status);
        if before == status {
            return;
        }
        let (from, to, reason) = (before.word(), status.word(), status.reason());
        tracing::info!(scope = %id, from, to, %reason, "the status of a scope changed");
        self.output.metrics.transition(to);
        self.output.audit.write(&Entry {
            scope: Some(id.as_str()),
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            ..Entry::of(now, "transition", reason.as_str(), "")
                .about(self.documents.verified.as_deref())
        });
    }
}
