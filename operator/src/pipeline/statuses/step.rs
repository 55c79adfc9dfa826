//! The last step of a run: it hands verdicts to the task that writes statuses, announces what has no status, and ends
//! traces. It waits for nothing.

use std::sync::Arc;

use kube::ResourceExt as _;
use postern_compile::Compilation;
use postern_intent::NodeName;

use super::announcer::Announcer;
use super::gone::of_gone;
use super::node_status::counts;
use super::notices::{of_held, of_nodes};
use super::queue::EventQueue;
use super::refused_settings::{judge_settings, of_refused_settings};
use super::unclaimed::unclaimed;
use super::warnings::{
    of_damaged_memory, of_intents, of_lost_key, of_other_keys, of_problems, of_unwritten,
};
use super::writer::VerdictSender;
use crate::metrics::{OperatorMetrics, gauge};
use crate::pipeline::gathered::GatheredRun;
use crate::pipeline::intents::KnownIntents;
use crate::pipeline::memory::MemoryStore;
use crate::signer::SignerError;
use crate::watches::WatchedStores;

/// What is reported with, and what was reported before.
pub(in crate::pipeline) struct ReportStep<'a> {
    pub(in crate::pipeline) metrics: &'a OperatorMetrics,
    pub(in crate::pipeline) namespace: &'a str,
    pub(in crate::pipeline) stores: &'a WatchedStores,
    pub(in crate::pipeline) events: &'a EventQueue,
    pub(in crate::pipeline) verdicts: &'a VerdictSender,
    /// Why the settings file as it is now is refused; none: it is in force.
    pub(in crate::pipeline) refused_settings: Option<Arc<str>>,
    pub(in crate::pipeline) announcer: &'a mut Announcer,
    pub(in crate::pipeline) memory: &'a MemoryStore,
}

/// Nodes that trust keys and none of those that sign: they refuse every intent.
fn other_keys(round: &GatheredRun) -> Vec<&NodeName> {
    let ours = round.signing.ring.public();
    let trust = round.gathered.inputs.trust.iter();
    trust
        .filter(|node| !node.keys.is_empty() && node.keys.iter().all(|id| !ours.contains_key(id)))
        .map(|node| &node.node)
        .collect()
}

impl ReportStep<'_> {
    /// Reports what became of a run.
    pub(in crate::pipeline) fn run(
        &mut self,
        round: &GatheredRun,
        compilation: &Compilation,
        intents: &mut KnownIntents,
    ) {
        intents.arrivals.end_traces(&self.stores.reports);
        let refused = self.refused_settings.as_deref();
        let mut verdicts = unclaimed(compilation, &round.gathered.inputs.unknown);
        judge_settings(&mut verdicts, refused);
        self.metrics.refused_settings.set(refused.is_some().into());
        for ((kind, state), count) in counts(&verdicts) {
            self.metrics.counted_nodes(kind, state, count);
        }
        let tampered = round.published.unreadable().len();
        self.metrics.tampered.set(gauge(tampered));
        self.metrics.other_keys.set(gauge(other_keys(round).len()));
        let lists = [
            ("nodes", of_nodes(&verdicts)),
            ("held", of_held(&compilation.held)),
            ("intents", of_intents(&round.published)),
            ("problems", of_problems(&round.gathered.inputs.problems)),
            (
                "unwritten",
                of_unwritten(self.namespace, &self.memory.unwritten()),
            ),
            (
                "other-keys",
                of_other_keys(self.namespace, &other_keys(round)),
            ),
            ("settings", of_refused_settings(self.namespace, refused)),
            ("memory", of_damaged_memory(self.namespace, round.loaded)),
        ];
        for (about, notices) in lists {
            self.announcer.announce(self.events, about, notices);
        }
        // Last: what is counted and announced is about nodes that are there.
        let intents = self.stores.intents.state();
        let names = intents.iter().map(|intent| intent.name_any());
        verdicts.extend(of_gone(names, compilation));
        self.verdicts.send(verdicts);
    }

    /// Announces that nothing can be signed, once as long as that lasts; none: it can.
    pub(in crate::pipeline) fn announce_lost_key(&mut self, problem: Option<&SignerError>) {
        let notices = of_lost_key(self.namespace, problem);
        self.announcer.announce(self.events, "signer", notices);
    }
}
