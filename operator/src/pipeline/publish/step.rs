//! The step that writes what nodes read: the trust root, the memory, the intents, and the chores around them.

use std::time::Instant;

use postern_compile::Compilation;
use tracing::info;

use super::chores::{chores_of, do_chores};
use super::intents::publish_intents;
use super::planning::{PlannedWrites, Planning, plan_all};
use super::tally::{Tallies, Tally};
use super::trust::{Trusted, keep_trust};
use super::writer::{Attempt, Writer};
use crate::metrics::Step;
use crate::pipeline::compile::{Compiled, Fresh};
use crate::pipeline::error::PipelineError;
use crate::pipeline::gather::config_map;
use crate::pipeline::intents::PublishedIntents;
use crate::pipeline::memory::{MemoryContents, MemoryStore, MemoryWrite, SavedMemory};
use crate::pipeline::report::{EventQueue, trust_repaired};
use crate::pipeline::round::{Round, cluster_intent};
use crate::signer::{TRUST, trust_data};
use crate::watches::WatchedStores;

/// What the step writes with, and what it remembers of what it wrote.
pub(in crate::pipeline) struct PublishStep<'a> {
    pub(in crate::pipeline) writer: &'a Writer,
    pub(in crate::pipeline) namespace: &'a str,
    pub(in crate::pipeline) stores: &'a WatchedStores,
    pub(in crate::pipeline) events: &'a EventQueue,
    pub(in crate::pipeline) intents: &'a mut PublishedIntents,
    pub(in crate::pipeline) memory: &'a mut MemoryStore,
}

/// What came of it.
pub(in crate::pipeline) struct Published {
    pub(in crate::pipeline) tallies: Tallies,
    /// The memory as it is now. None: the watch has not delivered its last write yet, and nothing was published.
    pub(in crate::pipeline) remembered: Option<MemoryContents>,
}

impl PublishStep<'_> {
    pub(in crate::pipeline) async fn run(
        &mut self,
        round: &Round,
        compiled: &Compiled,
    ) -> Result<Published, PipelineError> {
        let (started, compilation) = (Instant::now(), &*compiled.compilation);
        let mut tallies = Tallies {
            intents: Tally::default(),
            others: self.keep_trust(round).await,
        };
        // Before the intents: a crash in between loses no record of what was let go.
        let SavedMemory::Remembered(remembered) = self.save_memory(round, compilation).await?
        else {
            // The next run compiles again: nothing of this compilation is published.
            tallies.intents.stale += 1;
            return Ok(Published {
                tallies,
                remembered: None,
            });
        };
        if compiled.fresh == Fresh::Yes {
            tallies.intents = self.write_intents(round, compilation).await?;
        }
        let chores = chores_of(self.stores, round, compilation);
        for node in &compilation.retired {
            self.intents.nodes.forget(node);
        }
        tallies.others.add(do_chores(self.writer, chores).await);
        self.writer.metrics.took(Step::Publish, started.elapsed());
        Ok(Published {
            tallies,
            remembered: Some(remembered),
        })
    }

    async fn keep_trust(&self, round: &Round) -> Tally {
        let shown = config_map(self.stores, self.namespace, TRUST);
        let data = trust_data(round.signing.ring.public());
        let kept = keep_trust(self.writer, self.namespace, shown.as_ref(), data).await;
        if matches!(kept, Trusted::Mended(Attempt::Written(_))) {
            self.events.push(trust_repaired(self.namespace));
        }
        kept.tally()
    }

    async fn save_memory(
        &mut self,
        round: &Round,
        compilation: &Compilation,
    ) -> Result<SavedMemory, PipelineError> {
        let world = &round.world;
        let next = MemoryContents {
            memory: compilation.memory.clone(),
            held: compilation.held.clone(),
            // While there is no definition, the one that went is remembered: the next one is another one.
            definition: world
                .inputs
                .definition
                .uid
                .clone()
                .or_else(|| world.remembered.definition.clone()),
        };
        let write = MemoryWrite {
            writer: self.writer,
            namespace: self.namespace,
            stores: self.stores,
            epoch: round.epoch,
        };
        write.save(self.memory, next).await
    }

    async fn write_intents(
        &mut self,
        round: &Round,
        compilation: &Compilation,
    ) -> Result<Tally, PipelineError> {
        let started = Instant::now();
        let planning = Planning {
            stores: self.stores,
            metrics: &self.writer.metrics,
            round,
        };
        let PlannedWrites { cluster, nodes } = plan_all(&planning, compilation)?;
        self.writer.metrics.took(Step::Sign, started.elapsed());
        if cluster.is_some() || !nodes.is_empty() {
            let cluster = cluster.is_some();
            info!(
                intents = nodes.len(),
                cluster, "the leader publishes intents"
            );
        }
        let planned = cluster.into_iter().collect();
        let mut tally = publish_intents(self.writer, planned, &mut self.intents.cluster).await;
        // A node cannot join an intent with an older cluster document than the intent names. If the new cluster document could
        // not be written, only the intents that name the published one are written.
        let there = self.intents.cluster.serial(&cluster_intent());
        let ready = nodes
            .into_iter()
            .filter(|one| there.is_some_and(|there| one.body.cluster_serial <= there));
        tally.add(publish_intents(self.writer, ready.collect(), &mut self.intents.nodes).await);
        Ok(tally)
    }
}
