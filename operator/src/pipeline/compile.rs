//! The step that compiles, unless nothing has changed since the last compile.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use postern_compile::snapshot::Snapshot;
use postern_compile::{Compilation, NodeOutcome, compile};
use tracing::{Instrument as _, info_span};

use super::error::PipelineError;
use super::gather::definitions;
use super::gathered::{GatheredRun, GatheredState};
use super::memory::MemoryContents;
use super::period::period;
use crate::metrics::{OperatorMetrics, PipelineStep, gauge};

/// Compiles, and keeps the last compilation.
#[derive(Default)]
pub(super) struct CompileStep {
    last: Option<LastCompile>,
}

struct LastCompile {
    gathered: GatheredState,
    at: Instant,
    compilation: Arc<Compilation>,
    intents: IntentsWritten,
}

/// Whether every intent of the last compilation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IntentsWritten {
    Written,
    Unwritten,
}

/// A compilation, and whether this run made it.
pub(super) struct CompileStepResult {
    pub(super) compilation: Arc<Compilation>,
    pub(super) fresh: CompiledWhen,
}

/// Whether a compilation was made in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompiledWhen {
    Yes,
    No,
}

impl CompileStep {
    /// What the last compile read.
    pub(super) fn last_world(&self) -> Option<&GatheredState> {
        self.last.as_ref().map(|last| &last.gathered)
    }

    /// The compilation of what was gathered; the last one, if nothing changed.
    pub(super) async fn run(
        &mut self,
        round: &GatheredRun,
        metrics: &OperatorMetrics,
    ) -> Result<CompileStepResult, PipelineError> {
        let gathered = &round.gathered;
        if let Some(last) = &self.last
            && last.intents == IntentsWritten::Written
            && last.gathered == *gathered
            && last.at.elapsed() < period(gathered.inputs.settings.refresh)
            && last
                .compilation
                .wake
                .is_none_or(|wake| Timestamp::now() < wake)
        {
            return Ok(CompileStepResult {
                compilation: Arc::clone(&last.compilation),
                fresh: CompiledWhen::No,
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
        metrics.took(PipelineStep::Compile, started.elapsed());
        metrics.restored.set(gauge(restored(&compilation)));
        metrics.held.set(gauge(compilation.held.len()));
        metrics.awaited.set(gauge(gathered.awaited.len()));
        let compilation = Arc::new(compilation);
        self.last = Some(LastCompile {
            gathered: gathered.clone(),
            at: Instant::now(),
            compilation: Arc::clone(&compilation),
            intents: IntentsWritten::Written,
        });
        Ok(CompileStepResult {
            compilation,
            fresh: CompiledWhen::Yes,
        })
    }

    /// The time of [`Compilation::wake`].
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.last.as_ref()?.compilation.wake
    }

    /// Not every intent was written: the next run compiles again, with what it reads then.
    pub(super) fn left_unwritten(&mut self) {
        if let Some(last) = &mut self.last {
            last.intents = IntentsWritten::Unwritten;
        }
    }

    /// The memory was written. What the next run loads is this, and no change of what was gathered.
    pub(super) fn saved(&mut self, remembered: MemoryContents) {
        if let Some(last) = &mut self.last {
            last.gathered.remembered = remembered;
        }
    }
}

fn snapshot(round: &GatheredRun, now: Timestamp) -> Snapshot {
    let gathered = &round.gathered;
    let inputs = gathered.inputs.clone();
    let remembered = &gathered.remembered;
    Snapshot {
        now,
        definitions: definitions(&inputs.definition, remembered.definition.as_deref()),
        admin_definition: inputs.admin_definition,
        settings: inputs.settings,
        credentials: inputs.credentials.facts(),
        exits: inputs.exits,
        policies: inputs.policies,
        cluster_policies: inputs.cluster_policies,
        isolations: inputs.isolations,
        nodes: inputs.nodes,
        pods: inputs.pods,
        namespaces: inputs.namespaces,
        services: inputs.services,
        reports: inputs.reports,
        previous: round.published.previous(),
        previous_cluster: round.published.previous_cluster(),
        cluster_is_own: gathered.cluster_is_own,
        unreadable: round.published.unreadable(),
        awaited: gathered.awaited.clone(),
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
