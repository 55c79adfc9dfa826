//! The step that writes what nodes read: the trust root, the memory, the intents, and the objects beside them.

use std::sync::Arc;
use std::time::Instant;

use kube::runtime::reflector::ObjectRef;
use postern_compile::Compilation;
use postern_compile::publish::{DocumentWrite, PlannedDocuments, PublishStage, cluster_intent};
use postern_crds::NodeIntentSpec;
use postern_intent::NodeDocument;
use tracing::info;

use super::cleanup::{clean_up, cleanup_of};
use super::intents::publish_intents;
use super::plan::{PlannedWrite, plan};
use super::planning::plan_all;
use super::tally::{Tallies, Tally};
use super::trust::{TrustRootWrite, keep_trust};
use super::writer::{WriteAttempt, Writer};
use crate::metrics::PipelineStep;
use crate::pipeline::compile::{CompileStepResult, CompiledWhen};
use crate::pipeline::error::PipelineError;
use crate::pipeline::gather::config_map;
use crate::pipeline::gathered::GatheredRun;
use crate::pipeline::intents::PublishedIntents;
use crate::pipeline::memory::{MemoryContents, MemoryStore, MemoryWrite, SavedMemory};
use crate::pipeline::statuses::{EventQueue, trust_repaired};
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
pub(in crate::pipeline) struct PublishResult {
    pub(in crate::pipeline) tallies: Tallies,
    /// The memory as it is now. None: the watch has not delivered its last write yet, and nothing was published.
    pub(in crate::pipeline) remembered: Option<MemoryContents>,
}

impl PublishStep<'_> {
    pub(in crate::pipeline) async fn run(
        &mut self,
        round: &GatheredRun,
        compiled: &CompileStepResult,
    ) -> Result<PublishResult, PipelineError> {
        let (started, compilation) = (Instant::now(), &*compiled.compilation);
        let mut tallies = Tallies {
            intents: Tally::default(),
            others: self.keep_trust(round).await,
        };
        let planned = match compiled.fresh {
            CompiledWhen::Yes => self.plan(round, compilation)?,
            CompiledWhen::No => PlannedDocuments::default(),
        };
        let mut remembered = None;
        for stage in planned.stages(&compilation.retired) {
            match stage {
                PublishStage::Memory => match self.save_memory(round, compilation).await? {
                    SavedMemory::Remembered(saved) => remembered = Some(*saved),
                    SavedMemory::Wait => {
                        // The next run compiles again: nothing of this compilation is published.
                        tallies.intents.stale += 1;
                        return Ok(PublishResult {
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
                    let cleanup = cleanup_of(self.stores, round, &nodes);
                    for node in &nodes {
                        self.intents.nodes.forget(node);
                    }
                    tallies.others.add(clean_up(self.writer, cleanup).await);
                }
            }
        }
        self.writer
            .metrics
            .took(PipelineStep::Publish, started.elapsed());
        Ok(PublishResult {
            tallies,
            remembered,
        })
    }

    async fn keep_trust(&self, round: &GatheredRun) -> Tally {
        let shown = config_map(self.stores, self.namespace, TRUST);
        let data = trust_data(round.signing.ring.public());
        let kept = keep_trust(self.writer, self.namespace, shown.as_ref(), data).await;
        if matches!(kept, TrustRootWrite::Mended(WriteAttempt::Written(_))) {
            self.events.push(trust_repaired(self.namespace));
        }
        kept.tally()
    }

    async fn save_memory(
        &mut self,
        round: &GatheredRun,
        compilation: &Compilation,
    ) -> Result<SavedMemory, PipelineError> {
        let gathered = &round.gathered;
        let next = MemoryContents {
            memory: compilation.memory.clone(),
            held: compilation.held.clone(),
            // While there is no definition, the one that went is remembered: the next one is another one.
            definition: gathered
                .inputs
                .definition
                .uid
                .clone()
                .or_else(|| gathered.remembered.definition.clone()),
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
        round: &GatheredRun,
        compilation: &Compilation,
    ) -> Result<PlannedDocuments<Arc<NodeIntentSpec>>, PipelineError> {
        let started = Instant::now();
        let planned = plan_all(round, &self.writer.metrics, compilation)?;
        self.writer
            .metrics
            .took(PipelineStep::Sign, started.elapsed());
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
        round: &GatheredRun,
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
