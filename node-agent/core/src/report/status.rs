//! The status of the report, without conditions.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use postern_crds::NodeReportStatus;
use postern_crds::node_report::{
    AppliedPods, Capabilities, Difference, GUARDED_LISTED, KeyProof, Mismatch, PROOFS_LISTED,
    PublicKeys, Refusal, TunnelKind,
};
use postern_intent::KeyId;
use postern_intent::body::FORMAT_VERSION;
use postern_intent::possession::Proof;
use postern_intent::{Body, Verified, hex};
use postern_plan::check::Seal;
use postern_plan::desired::names;
use postern_plan::host::{Family, ObservedLink, TunnelBackend};
use postern_plan::order::{Stage, StepPlan};
use sha2::{Digest as _, Sha256};

use super::{GuardMeans, PACKETS, PluginUse, RefusalEntry, ReportInputs, ScopeRuleCounts};
use crate::read_back::ReadBack;

/// Cap of the schema.
const MISMATCHES: usize = 32;

impl ReportInputs<'_> {
    /// Was it read that no session is there which the body does not have? Another node begins an external exit's session when
    /// this one reports a later serial.
    fn has_no_former_session(&self, body: &Body) -> bool {
        let Some(read_back) = self.read_back else {
            return false;
        };
        let mut links = read_back.observed().links.iter();
        let is_former = |link: &ObservedLink| {
            let mut sessions = body.external.iter();
            link.name.starts_with("pst-x-")
                && !sessions.any(|one| one.interface.as_str() == link.name)
        };
        read_back.is_read(Stage::Link) && !links.any(is_former)
    }

    /// What the agent saw, without conditions.
    #[must_use]
    pub fn status(&self) -> NodeReportStatus {
        self.status_and_counts().0
    }

    /// The same, with the counts of rules for the metrics, which leave out none.
    #[must_use]
    pub fn status_and_counts(&self) -> (NodeReportStatus, Vec<ScopeRuleCounts<'_>>) {
        let counts = self.rule_counts();
        (self.status_with(&counts), counts)
    }

    fn status_with(&self, counts: &[ScopeRuleCounts<'_>]) -> NodeReportStatus {
        let applied = self.read_back.and_then(ReadBack::applied);
        let serial = self.in_force.serial.0;
        let cluster_serial = self.in_force.cluster_serial.0;
        NodeReportStatus {
            conditions: Vec::new(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            body_formats: vec![FORMAT_VERSION],
            applied_serial: applied
                .map(Verified::get)
                .filter(|body| self.has_no_former_session(body))
                .filter(|body| self.run.egress.follows(body))
                .map(|body| body.serial.0),
            applied_cluster_serial: applied.map(|verified| verified.get().cluster_serial.0),
            applied_digest: applied.map(|verified| verified.digest().to_owned()),
            verified_at: self.run.verified_at.map(MicroTime),
            ledger_serial: (serial > 0).then_some(serial),
            ledger_cluster_serial: (cluster_serial > 0).then_some(cluster_serial),
            key_set_version: Some(self.in_force.keys.version()),
            trusted_key_ids: self.in_force.keys.ids().map(ToString::to_string).collect(),
            released: self.is_released()
                && self.read_back.is_none()
                && self.run.failures.is_empty(),
            guarded_namespaces: applied
                .map(|verified| {
                    verified
                        .get()
                        .guarded_namespaces
                        .iter()
                        .take(GUARDED_LISTED)
                        .map(ToString::to_string)
                        .collect()
                })
                .unwrap_or_default(),
            applied_pods: applied.map(applied_pods),
            scopes: self.scope_reports(counts),
            exits: self.exit_reports(),
            served: self.served_reports(),
            isolation: self.isolation_report(),
            mismatches: self.mismatches(),
            refusals: self.in_force.refusals.iter().map(refusal).collect(),
            counters: self.report_counters(),
            capabilities: Some(self.capabilities()),
            public_keys: Some(PublicKeys {
                wireguard: Some(self.setup.wireguard_key.to_string()),
                wireguard_proofs: key_proofs(&self.setup.key_proofs),
                credentials: Some(self.setup.credentials_key.to_string()),
                credentials_proofs: key_proofs(&self.setup.credentials_proofs),
            }),
        }
    }

    fn mismatches(&self) -> Vec<Mismatch> {
        let mismatch = |stage: Stage, difference: Difference, message: String| Mismatch {
            object: stage.word().to_owned(),
            difference,
            message,
            at: None,
        };
        let read_back = self.read_back;
        let unread = read_back.map(ReadBack::unread).unwrap_or_default();
        let unread = unread
            .iter()
            .map(|part| mismatch(part.stage, Difference::Unreadable, part.message.clone()));
        let failed = self.run.failures.iter().map(|failed| {
            let message = format!("{}: {}", failed.step, failed.message);
            mismatch(failed.stage, Difference::Missing, message)
        });
        let differences = read_back.map(ReadBack::differences).into_iter();
        let found = differences
            .flat_map(StepPlan::differences)
            .map(|(stage, step)| mismatch(stage, Difference::Changed, step.to_string()));
        unread.chain(failed).chain(found).take(MISMATCHES).collect()
    }

    fn report_counters(&self) -> BTreeMap<String, u64> {
        let mut counters = self.run.counters.clone();
        let bypassed = u64::try_from(self.bypassed_pods().len()).unwrap_or(u64::MAX);
        counters.insert("bypassed_pods".to_owned(), bypassed);
        let unlisted = u64::try_from(self.unlisted().len()).unwrap_or(u64::MAX);
        counters.insert("unlisted_pods".to_owned(), unlisted);
        if let Some(observed) = self.read_back.map(ReadBack::observed) {
            let firewall = &observed.firewall;
            for table in [&firewall.inet, &firewall.bridge, &firewall.arp]
                .into_iter()
                .flatten()
            {
                // Those of single rules are in the reports of their scopes.
                let is_of_rule = |name: &str| {
                    let starts = [names::OBSERVED, names::DENIED];
                    starts.iter().any(|start| name.starts_with(start))
                };
                let own = table.counters.iter();
                for (name, packets) in own.filter(|(name, _)| !is_of_rule(name)) {
                    counters.insert(format!("{PACKETS}{name}"), *packets);
                }
            }
        }
        counters
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kernel: self.setup.kernel.clone(),
            nftables: self.setup.guard == GuardMeans::Present,
            tunnels: match self.setup.facts.tunnel_backend {
                None => TunnelKind::None,
                Some(TunnelBackend::Kernel) => TunnelKind::Kernel,
                Some(TunnelBackend::Userspace) => TunnelKind::Userspace,
            },
            second_lock: self.read_back.is_some_and(|read_back| {
                read_back.lock() == Seal::Sealed && !read_back.desired().locks.is_empty()
            }),
            ipv6: self.has_family(Family::V6),
            plugin: self.setup.plugin == PluginUse::Expected,
        }
    }
}

fn applied_pods(verified: &Verified<Body>) -> AppliedPods {
    let mut uids: Vec<&str> = verified
        .get()
        .pods
        .iter()
        .map(|pod| pod.uid.as_str())
        .collect();
    uids.sort_unstable();
    let mut hash = Sha256::new();
    for uid in &uids {
        hash.update(uid.as_bytes());
        hash.update(b"\n");
    }
    let digest = hex(&hash.finalize());
    AppliedPods {
        count: u32::try_from(uids.len()).unwrap_or(u32::MAX),
        digest: Some(digest),
    }
}

fn refusal(entry: &RefusalEntry) -> Refusal {
    Refusal {
        reason: entry.reason.to_owned(),
        serial: None,
        digest: entry.digest.clone(),
        at: Some(MicroTime(entry.at)),
        message: entry.message.clone(),
    }
}

fn key_proofs(proofs: &[(KeyId, Proof)]) -> Vec<KeyProof> {
    let proofs = proofs.iter().take(PROOFS_LISTED);
    let proofs = proofs.map(|(id, proof)| KeyProof {
        key_id: id.to_string(),
        mac: proof.to_string(),
    });
    proofs.collect()
}
