//! The step that compiles, unless nothing has changed since the last compile.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use postern_compile::snapshot::Snapshot;
use postern_compile::{Compilation, NodeOutcome, compile};
use tracing::{Instrument as _, info_span};

use super::error::PipelineError;
use super::gather::definitions;
use super::memory::MemoryContents;
use super::period::period;
use super::round::{Round, World};
use crate::metrics::{Metrics, Step, gauge};

/// Compiles, and keeps the last compilation.
#[derive(Default)]
pub(super) struct CompileStep {
    last: Option<LastCompile>,
}

struct LastCompile {
    world: World,
    at: Instant,
    compilation: Arc<Compilation>,
    intents: Intents,
}

/// Whether every intent of the last compilation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intents {
    Written,
    Unwritten,
}

/// A compilation, and whether this run made it.
pub(super) struct Compiled {
    pub(super) compilation: Arc<Compilation>,
    pub(super) fresh: Fresh,
}

/// Whether a compilation was made in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    Yes,
    No,
}

impl CompileStep {
    /// The world of the last compile.
    pub(super) fn last_world(&self) -> Option<&World> {
        self.last.as_ref().map(|last| &last.world)
    }

    /// The compilation of what was gathered; the last one, if nothing changed.
    pub(super) async fn run(
        &mut self,
        round: &Round,
        metrics: &Metrics,
    ) -> Result<Compiled, PipelineError> {
        let world = &round.world;
        if let Some(last) = &self.last
            && last.intents == Intents::Written
            && last.world == *world
            && last.at.elapsed() < period(world.inputs.settings.refresh)
        {
            return Ok(Compiled {
                compilation: Arc::clone(&last.compilation),
                fresh: Fresh::No,
            });
        }
        let started = Instant::now();
        let snapshot = snapshot(round, Timestamp::now());
        let span = info_span!("compile", nodes = snapshot.nodes.len());
        // On a thread of its own: the lease is renewed by the runtime's threads meanwhile.
        let work = tokio::task::spawn_blocking(move || compile(&snapshot));
        let compilation = work
            .instrument(span)
            .await
            .map_err(PipelineError::Compile)?;
        metrics.took(Step::Compile, started.elapsed());
        metrics.restored.set(gauge(restored(&compilation)));
        metrics.held.set(gauge(compilation.held.len()));
        metrics.awaited.set(gauge(world.awaited.len()));
        let compilation = Arc::new(compilation);
        self.last = Some(LastCompile {
            world: world.clone(),
            at: Instant::now(),
            compilation: Arc::clone(&compilation),
            intents: Intents::Written,
        });
        Ok(Compiled {
            compilation,
            fresh: Fresh::Yes,
        })
    }

    /// Not every intent was written: the next run compiles again, with what it reads then.
    pub(super) fn left_unwritten(&mut self) {
        if let Some(last) = &mut self.last {
            last.intents = Intents::Unwritten;
        }
    }

    /// The memory was written. What the next run loads is this, and no change of the world.
    pub(super) fn saved(&mut self, remembered: MemoryContents) {
        if let Some(last) = &mut self.last {
            last.world.remembered = remembered;
        }
    }
}

fn snapshot(round: &Round, now: Timestamp) -> Snapshot {
    let world = &round.world;
    let inputs = world.inputs.clone();
    let remembered = &world.remembered;
    Snapshot {
        now,
        definitions: definitions(&inputs.definition, remembered.definition.as_deref()),
        settings: inputs.settings,
        exits: inputs.exits,
        policies: inputs.policies,
        isolations: inputs.isolations,
        nodes: inputs.nodes,
        pods: inputs.pods,
        namespaces: inputs.namespaces,
        services: inputs.services,
        reports: inputs.reports,
        previous: round.published.previous(),
        previous_cluster: round.published.previous_cluster(),
        cluster_is_own: world.cluster_is_own,
        unreadable: round.published.unreadable(),
        awaited: world.awaited.clone(),
        memory: remembered.memory.clone(),
        approvals: inputs.approvals,
    }
}

/// How many nodes get nothing until a person approves.
fn restored(compilation: &Compilation) -> usize {
    compilation
        .nodes
        .values()
        .filter(|outcome| matches!(outcome, NodeOutcome::Restored))
        .count()
}
