//! One run: the list of steps.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use tracing::{Instrument as _, info_span};

use super::compile::{CompileStep, Compiled};
use super::error::PipelineError;
use super::fence::FenceStep;
use super::gather::GatherStep;
use super::intents::Intents;
use super::memory::MemoryStore;
use super::outcome::{IdleReason, Outcome};
use super::parts::PipelineParts;
use super::publish::{PublishStep, Tally, Writer};
use super::report::{ReportStep, Reporter, Said, unclaimed};
use super::round::Round;
use crate::metrics::Step;
use crate::signer::{Signer, SignerError, Signing};

/// The pipeline: what it is made of and what it knows from its last run.
pub struct Pipeline {
    pub(super) parts: PipelineParts,
    writer: Writer,
    signer: Signer,
    fence: FenceStep,
    compile: CompileStep,
    reporter: Reporter,
    intents: Intents,
    memory: MemoryStore,
}

impl Pipeline {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: PipelineParts) -> Self {
        let client = parts.client.clone();
        Self {
            signer: Signer::new(&client, &parts.namespace),
            writer: Writer {
                client,
                term: parts.term.clone(),
                metrics: parts.metrics.clone(),
            },
            fence: FenceStep::default(),
            compile: CompileStep::default(),
            reporter: Reporter::default(),
            intents: Intents::default(),
            memory: MemoryStore::default(),
            parts,
        }
    }

    /// Runs once.
    ///
    /// # Errors
    /// [`PipelineError`]: the run ended early; what was published stays.
    pub async fn run(&mut self) -> Result<Outcome, PipelineError> {
        let started = Instant::now();
        // 1. Only the leader decides, and only with complete stores.
        let Some(epoch) = self.parts.term.epoch(started) else {
            return Ok(Outcome::Idle(IdleReason::Standby));
        };
        let missing = self.parts.signals.missing(started);
        if !missing.is_empty() {
            return Ok(Outcome::Idle(IdleReason::Missing(missing)));
        }
        // 2. The keys: without one nothing can be published, so nothing is decided.
        let signing = self.read_keys(started).await?;
        // 3. The fence, before anything is read: what a stale leader writes after it is refused.
        if let Some(reason) = self.stamp_intents(epoch).await {
            return Ok(Outcome::Idle(reason));
        }
        // 4. Gather.
        let round = match self.gather(epoch, signing).await? {
            Ok(round) => round,
            Err(reason) => return Ok(Outcome::Idle(reason)),
        };
        // 5. Compile.
        let compiled = self.compile.run(&round, &self.parts.metrics).await?;
        // 6. Publish: remember, sign, write.
        let mut tally = self.publish(&round, &compiled).await?;
        // 7. Report what became of it.
        let said = self.report(&round, &compiled).await;
        tally.add(said.tally);
        Ok(Outcome::of(tally, said.wait))
    }

    async fn read_keys(&mut self, now: Instant) -> Result<Signing, PipelineError> {
        let answer = self.signer.signing(now).await;
        let there = i64::from(answer.is_ok());
        self.parts.metrics.signing_key.set(there);
        answer.map_err(PipelineError::Signer)
    }

    async fn stamp_intents(&mut self, epoch: u64) -> Option<IdleReason> {
        let objects = self.parts.stores.intents.state();
        let (writer, term) = (&self.writer, &self.parts.term);
        let stamping = self
            .fence
            .run(writer, &objects, epoch, &mut self.intents, term);
        stamping.instrument(info_span!("fence", epoch)).await
    }

    async fn gather(
        &mut self,
        epoch: u64,
        signing: Signing,
    ) -> Result<Result<Round, IdleReason>, PipelineError> {
        let started = Instant::now();
        let settings = Arc::clone(&self.parts.settings.borrow());
        let step = GatherStep {
            client: &self.parts.client,
            namespace: &self.parts.namespace,
            stores: &self.parts.stores,
            signals: &self.parts.signals,
            settings: &settings,
            metrics: &self.parts.metrics,
            last: self.compile.last_world(),
        };
        let gathering = step.run(epoch, signing, &mut self.intents, &mut self.memory);
        let gathered = gathering.instrument(info_span!("gather")).boxed().await;
        self.parts.metrics.took(Step::Gather, started.elapsed());
        gathered
    }

    /// Nothing is published while ranges of the cluster are unknown: nobody could tell inside from outside.
    async fn publish(
        &mut self,
        round: &Round,
        compiled: &Compiled,
    ) -> Result<Tally, PipelineError> {
        if !round.world.inputs.unknown.is_empty() {
            return Ok(Tally::default());
        }
        let mut step = PublishStep {
            writer: &self.writer,
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
            .map_or(true, |published| published.tally.is_incomplete())
        {
            self.compile.left_unwritten();
        }
        let published = published?;
        if let Some(remembered) = published.remembered {
            self.compile.saved(remembered);
        }
        Ok(published.tally)
    }

    async fn report(&mut self, round: &Round, compiled: &Compiled) -> Said {
        let started = Instant::now();
        let verdicts = unclaimed(&compiled.compilation.verdicts, &round.world.inputs.unknown);
        let mut step = ReportStep {
            writer: &self.writer,
            namespace: &self.parts.namespace,
            stores: &self.parts.stores,
            events: &self.parts.events,
            reporter: &mut self.reporter,
            memory: &self.memory,
        };
        let reporting = step.run(round, &compiled.compilation, &verdicts, &mut self.intents);
        let said = reporting.instrument(info_span!("report")).boxed().await;
        self.parts.metrics.took(Step::Report, started.elapsed());
        said
    }

    /// Announces that the signing key is lost, or that it is there again.
    pub(super) fn announce_lost_key(&mut self, problem: Option<&SignerError>) {
        ReportStep {
            writer: &self.writer,
            namespace: &self.parts.namespace,
            stores: &self.parts.stores,
            events: &self.parts.events,
            reporter: &mut self.reporter,
            memory: &self.memory,
        }
        .announce_lost_key(problem);
    }
}
