//! One run: the list of steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use jiff::Timestamp;
use tracing::{Instrument as _, info_span};

use super::compile::{CompileStep, CompileStepResult};
use super::error::PipelineError;
use super::fence::FenceStep;
use super::gather::{GatherStep, KnownCredentials, ProvedKeys};
use super::gathered::GatheredRun;
use super::intents::PublishedIntents;
use super::memory::MemoryStore;
use super::outcome::{IdleReason, RunOutcome};
use super::parts::PipelineParts;
use super::period::SHORTEST_PERIOD;
use super::publish::{PublishStep, Tallies};
use super::statuses::{Announcer, ReportStep};
use crate::metrics::PipelineStep;
use crate::signer::{Signer, SignerError, SigningKeys};

/// The pipeline: what it is made of and what it knows from its last run.
pub struct Pipeline {
    pub(super) parts: PipelineParts,
    signer: Signer,
    fence: FenceStep,
    compile: CompileStep,
    announcer: Announcer,
    intents: PublishedIntents,
    memory: MemoryStore,
    proved: ProvedKeys,
    credentials: KnownCredentials,
}

impl Pipeline {
    #[must_use]
    pub fn new(parts: PipelineParts) -> Self {
        Self {
            signer: Signer::new(&parts.writer.client, &parts.namespace),
            fence: FenceStep::default(),
            compile: CompileStep::default(),
            announcer: Announcer::default(),
            intents: PublishedIntents::default(),
            memory: MemoryStore::default(),
            proved: ProvedKeys::default(),
            credentials: KnownCredentials::default(),
            parts,
        }
    }

    /// Runs once.
    ///
    /// # Errors
    /// [`PipelineError`]: the run ended early; what was published stays.
    pub async fn run(&mut self) -> Result<RunOutcome, PipelineError> {
        let started = Instant::now();
        // 1. Only the leader decides, and only with complete stores.
        let Some(epoch) = self.parts.writer.term.epoch(started) else {
            return Ok(RunOutcome::Idle(IdleReason::Standby));
        };
        let missing = self.parts.signals.missing(started);
        if !missing.is_empty() {
            return Ok(RunOutcome::Idle(IdleReason::Missing(missing)));
        }
        // 2. The keys: without one nothing can be published, so nothing is decided.
        let signing = self.read_keys(started).await?;
        // 3. The fence, before anything is read: what a stale leader writes after it is refused.
        if let Some(reason) = self.stamp_intents(epoch).await {
            return Ok(RunOutcome::Idle(reason));
        }
        // 4. Gather.
        let round = match self.gather(epoch, signing).await? {
            Ok(round) => round,
            Err(reason) => return Ok(RunOutcome::Idle(reason)),
        };
        // 5. Compile.
        let compiled = self.compile.run(&round, &self.parts.writer.metrics).await?;
        // 6. Publish: remember, sign, write.
        let published = self.publish(&round, &compiled).await?;
        // 7. Report what became of it.
        self.report(&round, &compiled);
        let retry = self.parts.writer.next_retry(Instant::now());
        Ok(RunOutcome::of(published, retry))
    }

    /// Time until the next run for the time's sake alone, at most the period.
    pub(super) fn rest(&self, period: Duration) -> Duration {
        let wake = self.compile.wake();
        let left = wake.map(|wake| wake.duration_since(Timestamp::now()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        left.map_or(period, |left| left.clamp(SHORTEST_PERIOD, period))
    }

    async fn read_keys(&mut self, now: Instant) -> Result<SigningKeys, PipelineError> {
        let answer = self.signer.signing(now).await;
        let there = i64::from(answer.is_ok());
        self.parts.writer.metrics.signing_key.set(there);
        answer.map_err(PipelineError::Signer)
    }

    async fn stamp_intents(&mut self, epoch: u64) -> Option<IdleReason> {
        let objects = self.parts.stores.intents.state();
        let (writer, term) = (&self.parts.writer, &self.parts.writer.term);
        self.fence
            .run(writer, &objects, epoch, &mut self.intents, term)
            .await
    }

    async fn gather(
        &mut self,
        epoch: u64,
        signing: SigningKeys,
    ) -> Result<Result<GatheredRun, IdleReason>, PipelineError> {
        let started = Instant::now();
        let settings = Arc::clone(&self.parts.settings.borrow().in_force);
        let step = GatherStep {
            client: &self.parts.writer.client,
            namespace: &self.parts.namespace,
            stores: &self.parts.stores,
            signals: &self.parts.signals,
            lease_revision: &self.parts.lease_revision,
            settings: &settings,
            metrics: &self.parts.writer.metrics,
            last: self.compile.last_world(),
        };
        let gathering = step.run(
            epoch,
            signing,
            (&mut self.intents, &mut self.memory),
            (&mut self.proved, &mut self.credentials),
        );
        let gathered = gathering.instrument(info_span!("gather")).boxed().await;
        self.parts
            .writer
            .metrics
            .took(PipelineStep::Gather, started.elapsed());
        gathered
    }

    /// Nothing is published while ranges of the cluster are unknown: addresses inside the cluster could not be distinguished from those outside.
    async fn publish(
        &mut self,
        round: &GatheredRun,
        compiled: &CompileStepResult,
    ) -> Result<Tallies, PipelineError> {
        if !round.gathered.inputs.unknown.is_empty() {
            return Ok(Tallies::default());
        }
        let mut step = PublishStep {
            writer: &self.parts.writer,
            namespace: &self.parts.namespace,
            stores: &self.parts.stores,
            events: &self.parts.events,
            intents: &mut self.intents,
            memory: &mut self.memory,
        };
        let publishing = step.run(round, compiled);
        let span = info_span!("publish", epoch = round.epoch);
        let published = publishing.instrument(span).boxed().await;
        if published
            .as_ref()
            .map_or(true, |published| published.tallies.intents.is_incomplete())
        {
            self.compile.left_unwritten();
        }
        let published = published?;
        if let Some(remembered) = published.remembered {
            self.compile.saved(remembered);
        }
        Ok(published.tallies)
    }

    fn report(&mut self, round: &GatheredRun, compiled: &CompileStepResult) {
        let started = Instant::now();
        let _span = info_span!("report").entered();
        let Self {
            parts,
            announcer,
            memory,
            intents,
            ..
        } = self;
        report_step(parts, announcer, memory).run(round, &compiled.compilation, &mut intents.nodes);
        parts
            .writer
            .metrics
            .took(PipelineStep::Report, started.elapsed());
    }

    /// Announces that the signing key is lost, or that it is there again.
    pub(super) fn announce_lost_key(&mut self, problem: Option<&SignerError>) {
        report_step(&self.parts, &mut self.announcer, &self.memory).announce_lost_key(problem);
    }
}

fn report_step<'a>(
    parts: &'a PipelineParts,
    announcer: &'a mut Announcer,
    memory: &'a MemoryStore,
) -> ReportStep<'a> {
    ReportStep {
        metrics: &parts.writer.metrics,
        namespace: &parts.namespace,
        stores: &parts.stores,
        events: &parts.events,
        verdicts: &parts.verdicts,
        refused_settings: parts.settings.borrow().refused.clone(),
        announcer,
        memory,
    }
}
