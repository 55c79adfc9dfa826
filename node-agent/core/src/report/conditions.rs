//! Conditions of the report.

use std::collections::BTreeMap;

use postern_crds::conditions::{ConditionStatus, ConditionType, Finding, Reason};
use postern_intent::Uid;
use postern_plan::binding::Listing;
use postern_plan::check::Seal;
use postern_plan::desired::{LocalRanges, NodeClaim, PacketLog};
use postern_plan::host::{Family, LockPolicy};
use postern_plan::order::Stage;
use postern_plan::ruleset::RECORD_GROUP;
use postern_plan::settings::SecondLock;

use super::{LedgerState, PluginUse, ReportInputs};
use crate::read_back::{GuardReading, ReadBack};

impl ReportInputs<'_> {
    /// Every condition of the report.
    #[must_use]
    pub fn findings(&self) -> [Finding; 7] {
        let findings = [
            self.accepted_by_keys(),
            self.programmed(),
            self.agrees(),
            self.fail_closed(),
            self.source_binding(),
            self.second_lock(),
            self.preflight(),
        ];
        findings.map(|finding| self.with_damage(finding))
    }

    /// What the checks of `postern-agent preflight` find while the agent runs.
    fn preflight(&self) -> Finding {
        let kind = ConditionType::Preflight;
        match self.setup.preflight {
            None => Finding::unknown(kind, Reason::Converging, "the host is not checked yet"),
            Some([]) => Finding::yes(kind, Reason::Checked, Reason::Checked.sentence()),
            Some(found) => Finding::no(kind, Reason::CheckFailed, found.join("; ")),
        }
    }

    /// What could not be used at the start makes a condition false that nothing else does.
    fn with_damage(&self, finding: Finding) -> Finding {
        let kind = finding.kind;
        let damages = self.setup.damages.iter();
        let of_kind = damages.filter(|damage| damage.condition == kind);
        of_kind.fold(finding, |finding, damage| match finding.state {
            ConditionStatus::True | ConditionStatus::Unknown => {
                Finding::no(finding.kind, damage.reason, damage.message.clone())
            }
            ConditionStatus::False => Finding {
                message: format!("{}; {}", finding.message, damage.message),
                ..finding
            },
        })
    }

    /// Whether documents are accepted, and whether the keys that decide it are those that lie installed.
    fn accepted_by_keys(&self) -> Finding {
        let mut accepted = self.accepted();
        if let Some(difference) = &self.in_force.key_difference {
            accepted.message = format!("{}; {difference}", accepted.message);
        }
        accepted
    }

    fn accepted(&self) -> Finding {
        let kind = ConditionType::Accepted;
        if self.is_released() {
            return Finding::yes(
                kind,
                Reason::Released,
                "the node is released; no intent up to that serial is applied",
            );
        }
        if let Some(refusal) = self.in_force.standing_refusal {
            let reason = Reason::parse(refusal.reason).unwrap_or(Reason::Invalid);
            return Finding::no(
                kind,
                reason,
                format!("the last document was refused: {}", refusal.message),
            );
        }
        if self.in_force.ledger == LedgerState::Lost {
            return Finding::no(kind, Reason::LedgerLost, Reason::LedgerLost.sentence());
        }
        match self.in_force.body {
            Some(body) if body.not_after <= self.time.now => Finding::no(
                kind,
                Reason::Expired,
                format!("the intent ran out at {}", body.not_after),
            ),
            Some(body) => Finding::yes(
                kind,
                Reason::Accepted,
                format!("serial {} is in force", body.serial),
            ),
            None => Finding::unknown(kind, Reason::NoIntent, Reason::NoIntent.sentence()),
        }
    }

    fn programmed(&self) -> Finding {
        let kind = ConditionType::Programmed;
        if let Some(message) = self.owed() {
            return Finding::no(kind, Reason::FlowsNotCut, message);
        }
        if let Some(failed) = self.run.failures.first() {
            let reason = match failed.stage {
                Stage::Tunnel | Stage::Link => Reason::NoTunnel,
                Stage::Route => Reason::ApplyFailed,
                Stage::Guard | Stage::Lock | Stage::Flow | Stage::Release | Stage::Arp => {
                    Reason::TransactionFailed
                }
            };
            return Finding::no(
                kind,
                reason,
                format!(
                    "{}: {}: {}",
                    failed.stage.word(),
                    failed.step,
                    failed.message
                ),
            );
        }
        match self.read_back {
            Some(read_back) if read_back.agrees() => {
                Finding::yes(kind, Reason::Programmed, self.programmed_except())
            }
            // What cannot be read may stand as it should: it is not known, and nothing was refused.
            Some(read_back) if read_back.differences().is_empty() => {
                let unread = read_back.unread().first();
                let message = unread.map(|unread| unread.message.clone());
                Finding::unknown(kind, Reason::Mismatch, message.unwrap_or_default())
            }
            None if self.is_released() => {
                Finding::yes(kind, Reason::Released, Reason::Released.sentence())
            }
            _ => Finding::no(
                kind,
                Reason::Converging,
                "the kernel does not carry everything yet",
            ),
        }
    }

    /// With what this node cannot do of it.
    fn programmed_except(&self) -> String {
        let mut sentence = Reason::Programmed.sentence().to_owned();
        if !self.has_family(Family::V6) {
            sentence.push_str(
                " This node has no IPv6 (disable_ipv6 of new devices, or of the kernel): IPv6 of selected pods is blocked.",
            );
        }
        let scopes = self
            .in_force
            .body
            .into_iter()
            .flat_map(|body| &body.firewall);
        let is_audited = scopes.into_iter().any(|scope| !scope.terms.audit.is_none());
        if is_audited && self.setup.facts.packet_log == PacketLog::Missing {
            sentence.push_str(&format!(
                " Of spec.audit it records names only: its kernel lacks one of CONFIG_NETFILTER_NETLINK_LOG, CONFIG_NFT_LOG and CONFIG_NFT_LIMIT, or another program reads nflog group {RECORD_GROUP}; the agent's log says which, and the agent tries again."
            ));
        }
        sentence
    }

    /// Do our devices take the family?
    pub(super) fn has_family(&self, family: Family) -> bool {
        let facts = self.setup.facts;
        !facts.absent.contains(&family) && !facts.disabled.contains(&family)
    }

    /// Flows that go on by the class that their address had before, where the guard stands and only the cut is missing.
    fn owed(&self) -> Option<String> {
        let (first, _) = self.run.owed_cuts.first_key_value()?;
        let guard = self.read_back.map(ReadBack::guard);
        if self.is_released() || guard != Some(GuardReading::Wanted) {
            return None;
        }
        let mut failures = self.run.failures.iter();
        let failed = failures.find(|failed| failed.stage == Stage::Flow);
        let why = failed.map_or_else(String::new, |failed| format!(": {}", failed.message));
        let others = self.run.owed_cuts.len() - 1;
        Some(format!(
            "flows of {first} (and of {others} more addresses) are not cut yet{why}"
        ))
    }

    fn agrees(&self) -> Finding {
        let kind = ConditionType::Verified;
        if let Some(message) = self.passing_by() {
            return Finding::no(kind, Reason::DataplaneBypassed, message);
        }
        let Some(read_back) = self.read_back else {
            return Finding::no(
                kind,
                Reason::Mismatch,
                "the kernel was not read back whole since the last change",
            );
        };
        if let Some(unread) = read_back.unread().first() {
            return Finding::no(kind, Reason::Mismatch, unread.message.clone());
        }
        let count = read_back.differences().differences().count();
        match read_back.differences().differences().next() {
            None if self.run.failures.is_empty() => {
                Finding::yes(kind, Reason::Verified, Reason::Verified.sentence())
            }
            None => Finding::no(
                kind,
                Reason::Mismatch,
                "a part of the host could not be changed",
            ),
            Some((stage, step)) => Finding::no(
                kind,
                Reason::Mismatch,
                format!("{}: {step} (and {} more)", stage.word(), count - 1),
            ),
        }
    }

    /// Pods whose packets the guard does not see, the first one by name.
    fn passing_by(&self) -> Option<String> {
        let pods = self.bypassed_pods();
        let pod = pods.values().next()?;
        let bypass = self.run.bypasses.get(&pod.link);
        let bypass = bypass.map(String::as_str).unwrap_or_default();
        let (namespace, name, link) = (&pod.namespace, &pod.name, &pod.link);
        let others = pods.len() - 1;
        Some(format!(
            "the guard does not see {namespace}/{name} behind {link}: {bypass} (and {others} more pods)"
        ))
    }

    fn fail_closed(&self) -> Finding {
        let kind = ConditionType::FailClosed;
        if self.is_released() {
            return Finding::no(kind, Reason::Released, Reason::Released.sentence());
        }
        let guard = self
            .run
            .failures
            .iter()
            .find(|failed| failed.stage == Stage::Guard);
        let read_back = self.read_back;
        match (read_back.map(ReadBack::guard), guard) {
            (Some(GuardReading::Wanted), _) if self.in_force.claim == NodeClaim::Unclaimed => {
                Finding::no(
                    kind,
                    Reason::NoIntent,
                    "no intent was ever in force on this node: pods that are older than the plugin are not held",
                )
            }
            (Some(GuardReading::Wanted), _) => Finding::yes(kind, Reason::Sealed, self.sealed()),
            // nft changes all or nothing: what was refused has taken nothing away from what stood before.
            (Some(GuardReading::Former), _) => {
                Finding::yes(kind, Reason::Sealed, self.formerly_sealed())
            }
            (_, Some(failed)) => Finding::no(
                kind,
                Reason::NoGuard,
                format!("{}: {}", failed.step, failed.message),
            ),
            _ => Finding::no(kind, Reason::NotSealed, self.not_sealed()),
        }
    }

    /// Which guard stands where the change to the wanted one was refused.
    fn formerly_sealed(&self) -> String {
        let read_back = self.read_back;
        let applied = read_back.and_then(ReadBack::applied);
        let which = applied.map_or_else(
            || "from before the first intent".to_owned(),
            |applied| format!("of serial {}", applied.get().serial),
        );
        format!("The guard {which} is in place and was read back; a change of it was refused.")
    }

    fn not_sealed(&self) -> String {
        let unread = self.read_back.map(ReadBack::unread);
        let mut unread = unread.unwrap_or_default().iter();
        match unread.find(|part| part.stage == Stage::Guard) {
            Some(part) => format!("{} {}", Reason::NotSealed.sentence(), part.message),
            None => Reason::NotSealed.sentence().to_owned(),
        }
    }

    /// What the guard holds, with the pods that no body speaks of any more.
    fn sealed(&self) -> String {
        let sentence = Reason::Sealed.sentence();
        match self.unlisted().split_first() {
            None => sentence.to_owned(),
            Some((first, others)) => format!(
                "{sentence} {first} (and {} more pods) was guarded and is listed no more: it is held until an intent releases it or it goes.",
                others.len()
            ),
        }
    }

    /// Pods that nothing holds but that they were guarded, by namespace and name.
    pub(super) fn unlisted(&self) -> Vec<String> {
        let Some(body) = self.in_force.body.filter(|_| !self.is_released()) else {
            return Vec::new();
        };
        let listing = Listing::of(body);
        let pods = self.in_force.bindings.unlisted(&listing);
        pods.map(|pod| format!("{}/{}", pod.namespace, pod.name))
            .collect()
    }

    fn source_binding(&self) -> Finding {
        let kind = ConditionType::SourceBinding;
        if self.setup.plugin == PluginUse::None {
            return Finding::no(kind, Reason::NoPlugin, Reason::NoPlugin.sentence());
        }
        if self.read_back.map(ReadBack::seal) != Some(Seal::Sealed) {
            return Finding::no(kind, Reason::NotSealed, Reason::NotSealed.sentence());
        }
        let unbound: BTreeMap<&Uid, String> = self
            .unbound()
            .map(|pod| (&pod.uid, format!("{}/{}", pod.namespace, pod.name)))
            .collect();
        match unbound.values().next() {
            None if let Some(message) = self.bound_without_mac() => {
                Finding::no(kind, Reason::Unbound, message)
            }
            None => Finding::yes(kind, Reason::Bound, Reason::Bound.sentence()),
            Some(first) => Finding::no(
                kind,
                Reason::Unbound,
                format!(
                    "{first} (and {} more pods) have addresses by the intent's word only; restart them to bind them",
                    unbound.len() - 1
                ),
            ),
        }
    }

    /// On a bridge all pods come in by one device, and only a MAC address tells whose frame it is.
    fn bound_without_mac(&self) -> Option<String> {
        let bindings = self.in_force.bindings.by_container.values();
        let mut unknown = bindings
            .filter(|binding| binding.mac.is_none() && binding.pod_link != binding.host_interface);
        let first = unknown.next()?;
        Some(format!(
            "the CNI result named no MAC address of {}/{} (and of {} more pods) on the bridge {}: who sends a frame there is not checked; chain postern-cni behind a plugin that names it",
            first.namespace,
            first.name,
            unknown.count(),
            first.pod_link
        ))
    }

    fn second_lock(&self) -> Finding {
        let kind = ConditionType::SecondLock;
        if self.setup.second_lock == SecondLock::Off {
            let why = match &self.setup.no_lock {
                Some(error) => format!("this kernel has none: {error}"),
                None => "the setting --second-lock is off".to_owned(),
            };
            return Finding::no(kind, Reason::NoSecondLock, why);
        }
        match self.read_back.map(ReadBack::lock) {
            Some(Seal::Sealed) => match (self.overruled(), self.unlocked_sources()) {
                (Some(message), _) => Finding::no(kind, Reason::NoSecondLock, message),
                (None, Some(message)) => Finding::no(kind, Reason::RangesUnknown, message),
                (None, None) => Finding::yes(kind, Reason::Locked, Reason::Locked.sentence()),
            },
            _ => Finding::no(
                kind,
                Reason::NoSecondLock,
                "the XFRM policies are not in place",
            ),
        }
    }

    /// Another program's policy that comes before a lock, for packets that the lock is about.
    fn overruled(&self) -> Option<String> {
        let locks = &self.read_back?.desired().locks;
        let concerns = |policy: &&LockPolicy| {
            locks
                .iter()
                .any(|lock| lock.source.overlaps(&policy.source))
        };
        let policy = self.setup.facts.overruling_locks.iter().find(concerns)?;
        Some(format!(
            "an XFRM policy of another program, {} -> {} at priority {}, lets packets pass before the lock blocks them",
            policy.source, policy.destination, policy.priority
        ))
    }

    /// Which sources the lock does not know, because the node's pod ranges are not known or not the CNI's.
    fn unlocked_sources(&self) -> Option<String> {
        const REMEDY: &str = "the lock and the check of sources know the addresses of bound and listed pods only; give the agent this node's ranges with --local-pod-cidrs, or none";
        let ranges = &self.read_back?.desired().local_ranges;
        let contradicted = ranges.values().find_map(|known| match known {
            LocalRanges::Contradicted(address) => Some(address),
            _ => None,
        });
        if let Some(address) = contradicted {
            return Some(format!(
                "a pod of this node has the address {address}, which is in none of the node's pod ranges: {REMEDY}"
            ));
        }
        let unproven = |known: &LocalRanges| *known != LocalRanges::Trusted;
        ranges
            .values()
            .all(unproven)
            .then(|| format!("this node's pod ranges are not known: {REMEDY}"))
    }
}
