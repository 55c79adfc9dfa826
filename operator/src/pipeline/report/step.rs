//! The last step of a run: statuses, Events about what has none, and the ends of traces.

use postern_compile::Compilation;
use postern_compile::verdict::Verdict;

use super::notices::{of_held, of_nodes};
use super::queue::EventQueue;
use super::warnings::{of_damaged_memory, of_intents, of_lost_key, of_problems, of_unwritten};
use super::write::{Reporter, Said};
use crate::metrics::gauge;
use crate::pipeline::intents::{IntentState, Intents};
use crate::pipeline::memory::MemoryStore;
use crate::pipeline::publish::Writer;
use crate::pipeline::round::Round;
use crate::signer::SignerError;
use crate::watches::Stores;

/// What is reported with, and what was reported before.
pub(in crate::pipeline) struct ReportStep<'a> {
    pub(in crate::pipeline) writer: &'a Writer,
    pub(in crate::pipeline) namespace: &'a str,
    pub(in crate::pipeline) stores: &'a Stores,
    pub(in crate::pipeline) events: &'a EventQueue,
    pub(in crate::pipeline) reporter: &'a mut Reporter,
    pub(in crate::pipeline) memory: &'a MemoryStore,
}

impl ReportStep<'_> {
    /// Reports what became of a run.
    pub(in crate::pipeline) async fn run(
        &mut self,
        round: &Round,
        compilation: &Compilation,
        verdicts: &[Verdict],
        intents: &mut Intents,
    ) -> Said {
        intents.arrivals.end_traces(&self.stores.reports);
        let said = self
            .reporter
            .report(self.writer, self.events, self.stores, verdicts)
            .await;
        let states = &round.intent_states;
        let tampered = states
            .values()
            .filter(|state| matches!(state, IntentState::Tampered { .. }));
        self.writer.metrics.tampered.set(gauge(tampered.count()));
        let lists = [
            ("nodes", of_nodes(verdicts)),
            ("held", of_held(&compilation.held)),
            ("intents", of_intents(states)),
            ("problems", of_problems(&round.world.inputs.problems)),
            (
                "unwritten",
                of_unwritten(self.namespace, &self.memory.unwritten()),
            ),
            ("memory", of_damaged_memory(self.namespace, round.loaded)),
        ];
        for (about, notices) in lists {
            self.reporter.announce(self.events, about, notices);
        }
        said
    }

    /// Announces that nothing can be signed, once as long as that lasts; none: it can.
    pub(in crate::pipeline) fn announce_lost_key(&mut self, problem: Option<&SignerError>) {
        let notices = of_lost_key(self.namespace, problem);
        self.reporter.announce(self.events, "signer", notices);
    }
}
