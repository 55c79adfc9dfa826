//! The step that writes what nodes read: the trust root, the memory, the intents, and the chores around them.

use std::sync::Arc;
use std::time::Instant;

use kube::runtime::reflector::ObjectRef;
use postern_compile::Compilation;
use postern_compile::publish::{DocumentWrite, PlannedDocuments, PublishStage, cluster_intent};
use postern_crds::NodeIntentSpec;
use postern_intent::NodeDocument;
use tracing::info;

use super::chores::{chores_of, do_chores};
use super::intents::publish_intents;
use super::plan::{PlannedWrite, plan};
use super::planning::plan_all;
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
use crate::pipeline::round::Round;
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
        let planned = match compiled.fresh {
            Fresh::Yes => self.plan(round, compilation)?,
            Fresh::No => PlannedDocuments::default(),
        };
        let mut remembered = None;
        for stage in planned.stages(&compilation.retired) {
            match stage {
                PublishStage::Memory => match self.save_memory(round, compilation).await? {
                    SavedMemory::Remembered(saved) => remembered = Some(saved),
                    SavedMemory::Wait => {
                        // The next run compiles again: nothing of this compilation is published.
                        tallies.intents.stale += 1;
                        return Ok(Published {
                            tallies,
                            remembered,
                        });
                    }
                },
                PublishStage::Cluster(write) => {
                    let planned = write.map(|write| self.in_place(write, round.epoch));
                    let planned = planned.into_iter().collect();
                    let intents = &mut self.intents.cluster;
                    let written = publish_intents(self.writer, planned, intents).await;
                    tallies.intents.add(written);
                }
                PublishStage::Nodes(writes) => {
                    let written = self.write_nodes(round, writes).await;
                    tallies.intents.add(written);
                }
                PublishStage::Retire(nodes) => {
                    let chores = chores_of(self.stores, round, &nodes);
                    for node in &nodes {
                        self.intents.nodes.forget(node);
                    }
                    tallies.others.add(do_chores(self.writer, chores).await);
                }
            }
        }
        self.writer.metrics.took(Step::Publish, started.elapsed());
        Ok(Published {
            tallies,
            remembered,
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

    fn plan(
        &self,
        round: &Round,
        compilation: &Compilation,
    ) -> Result<PlannedDocuments<Arc<NodeIntentSpec>>, PipelineError> {
        let started = Instant::now();
        let planned = plan_all(round, &self.writer.metrics, compilation)?;
        self.writer.metrics.took(Step::Sign, started.elapsed());
        let (intents, cluster) = (planned.nodes.len(), planned.cluster.is_some());
        if cluster || intents > 0 {
            info!(intents, cluster, "the leader publishes intents");
        }
        Ok(planned)
    }

    /// The write of an object in the place of what the watch shows.
    fn in_place<D>(
        &self,
        write: DocumentWrite<D, Arc<NodeIntentSpec>>,
        epoch: u64,
    ) -> PlannedWrite<D> {
        let shown = self
            .stores
            .intents
            .get(&ObjectRef::new(write.name.as_str()));
        plan(write, shown.as_deref(), epoch)
    }

    /// A node cannot join an intent with an older cluster document than the intent names. If the new cluster document could
    /// not be written, only the intents that name the published one are written.
    async fn write_nodes(
        &mut self,
        round: &Round,
        writes: Vec<DocumentWrite<NodeDocument, Arc<NodeIntentSpec>>>,
    ) -> Tally {
        let published = self.intents.cluster.serial(&cluster_intent());
        let ready = writes.into_iter().filter(|write| {
            published.is_some_and(|published| write.document.cluster_serial <= published)
        });
        let planned = ready
            .map(|write| self.in_place(write, round.epoch))
            .collect();
        publish_intents(self.writer, planned, &mut self.intents.nodes).await
    }
}
