//! One run: the list of steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt as _};
use postern_compile::snapshot::Settings;
use postern_compile::{Compilation, compile};
use postern_intent::NodeName;
use tokio::sync::watch;
use tracing::{Instrument as _, info, info_span, warn};

use super::error::PipelineError;
use super::gather::{Inputs, confirm, gather, is_doubtful, sizes};
use super::intents::{Intents, Standing};
use super::memory::{Loaded, MemoryContents, MemoryStore, PageName, Saved, save};
use super::outcome::{Outcome, Why};
use super::publish::{Fenced, Tally, Trusted, Writer, do_chores, fence, keep_trust};
use super::report::{Herald, Reporter};
use super::round::{Heard, Last, World, awaited, labels, marks, restored, snapshot, unclaimed};
use super::wake::period;
use super::{issue, news};
use crate::api::Requests;
use crate::controllers::{Kind, Signals, Stores};
use crate::lease::{Look, Term};
use crate::metrics::{Metrics, Step, gauge};
use crate::signer::{Signer, Signing, trust_data};

/// What a pipeline is made of.
pub struct PipelineParts {
    /// The client.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: String,
    /// Tells people.
    pub herald: Herald,
    /// The stores.
    pub stores: Stores,
    /// What the watches tell.
    pub signals: Signals,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether this process leads.
    pub term: Term,
    /// The settings.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// What is known of the API server's patience, and its newest revision.
    pub requests: Requests,
}

/// The pipeline: what it is made of and what it knows from its last run.
pub struct Pipeline {
    pub(super) parts: PipelineParts,
    pub(super) writer: Writer,
    pub(super) herald: Herald,
    pub(super) reporter: Reporter,
    signer: Signer,
    pub(super) intents: Intents,
    pub(super) memory: MemoryStore,
    fenced: Option<u64>,
    last: Option<Last>,
}

/// What a run has gathered.
pub(super) struct Round {
    pub(super) epoch: u64,
    pub(super) signing: Signing,
    pub(super) world: World,
    pub(super) standings: BTreeMap<NodeName, Standing>,
    pub(super) loaded: Loaded,
}

impl Pipeline {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: PipelineParts) -> Self {
        let client = parts.client.clone();
        Self {
            writer: Writer {
                client: client.clone(),
                term: parts.term.clone(),
                metrics: parts.metrics.clone(),
            },
            herald: parts.herald.clone(),
            reporter: Reporter::default(),
            signer: Signer::new(&client, &parts.namespace),
            intents: Intents::default(),
            memory: MemoryStore::default(),
            fenced: None,
            last: None,
            parts,
        }
    }

    /// Runs once.
    ///
    /// # Errors
    /// [`PipelineError`]: the run ended early; what was published stays.
    pub async fn run(&mut self) -> Result<Outcome, PipelineError> {
        let started = Instant::now();
        let Some(epoch) = self.parts.term.epoch(started) else {
            return Ok(Outcome::Idle(Why::Standby));
        };
        let missing = self.parts.signals.missing(started);
        if !missing.is_empty() {
            return Ok(Outcome::Idle(Why::Missing(missing)));
        }
        let signing = self.signing(started).await?;
        let gathering = info_span!("gather");
        let gathered = self
            .gather(epoch, signing)
            .instrument(gathering)
            .boxed()
            .await?;
        self.parts.metrics.took(Step::Gather, started.elapsed());
        let round = match gathered {
            Ok(round) => round,
            Err(why) => return Ok(Outcome::Idle(why)),
        };
        let (compilation, fresh) = self.compiled(&round).await?;
        let mut tally = Tally::default();
        let unknown = &round.world.inputs.unknown;
        if unknown.is_empty() {
            let publishing = info_span!("publish", epoch);
            let written = self.publish(&round, &compilation, fresh);
            let written = written.instrument(publishing).boxed().await;
            // What was not written has to be compiled again with what will be read then.
            if written.as_ref().map_or(true, Tally::is_incomplete) {
                self.last = None;
            }
            tally.add(written?);
        }
        let verdicts = if unknown.is_empty() {
            compilation.verdicts.clone()
        } else {
            unclaimed(&compilation.verdicts, unknown)
        };
        let reporting = Instant::now();
        let span = info_span!("report");
        let said = news::report(self, &round, &compilation, &verdicts)
            .instrument(span)
            .boxed()
            .await;
        self.parts.metrics.took(Step::Report, reporting.elapsed());
        tally.add(said.tally);
        Ok(Outcome::of(tally, said.wait))
    }

    async fn signing(&mut self, now: Instant) -> Result<Signing, PipelineError> {
        let answer = self.signer.signing(now).await;
        let there = i64::from(answer.is_ok());
        self.parts.metrics.signing_key.set(there);
        answer.map_err(PipelineError::Signer)
    }

    /// Looks at the stores, and makes sure of what they say.
    async fn gather(
        &mut self,
        epoch: u64,
        signing: Signing,
    ) -> Result<Result<Round, Why>, PipelineError> {
        let now = Instant::now();
        let stores = self.parts.stores.clone();
        let settings = Arc::clone(&self.parts.settings.borrow());
        let mut inputs = gather(&stores, &settings, &self.parts.namespace);
        for (kind, objects, poison) in sizes(&stores) {
            self.parts.metrics.counted(kind, objects, poison);
        }
        if let Some(why) = self.fence(epoch).await {
            return Ok(Err(why));
        }
        let standings = self.standings(&inputs, &signing, now);
        if standings
            .values()
            .any(|standing| matches!(standing, Standing::Lagging))
        {
            return Ok(Err(Why::Lagging));
        }
        let namespace = &self.parts.namespace;
        let shown =
            |page: PageName| super::gather::config_map(&stores, namespace, &page.config_map());
        let loaded = self.memory.load(shown, epoch, now);
        let (remembered, loaded) = loaded.map_err(PipelineError::Page)?;
        if is_doubtful(&inputs, &remembered.memory) && self.is_new_doubt(&inputs, &remembered) {
            self.ask(&mut inputs).await?;
        } else if let Some(last) = &self.last
            && is_doubtful(&inputs, &remembered.memory)
        {
            // Asked before, about the same: the answer stands.
            inputs.definition = last.world.inputs.definition.clone();
            inputs.namespaces = last.world.inputs.namespaces.clone();
        }
        let spoken = self.parts.signals.spoken();
        let heard = Heard {
            spoken: &spoken,
            watching: self.parts.signals.watching(Kind::NodeReport, now),
            ours: &|node| self.intents.is_ours(node),
        };
        let awaited = awaited(&inputs, &standings, &remembered, &heard);
        let keys = signing.ring.public().keys().chain(&signing.retiring);
        let world = World {
            published: marks(&standings),
            keys: keys.map(ToString::to_string).collect(),
            inputs,
            awaited,
            remembered,
            epoch,
        };
        Ok(Ok(Round {
            epoch,
            signing,
            world,
            standings,
            loaded,
        }))
    }

    async fn fence(&mut self, epoch: u64) -> Option<Why> {
        let look = if self.fenced == Some(epoch) {
            Look::Again
        } else {
            Look::First
        };
        let objects = self.parts.stores.intents.state();
        match fence(&self.writer, &objects, epoch, look, &mut self.intents).await {
            Fenced::All => {
                self.fenced = Some(epoch);
                None
            }
            Fenced::Stamping(tally) => {
                // From here on a stamp of this epoch is this leader's own.
                self.fenced = Some(epoch);
                Some(Why::Stamping(tally))
            }
            Fenced::TooLow(highest) => {
                warn!(
                    epoch,
                    highest, "intents carry a higher epoch: going above it"
                );
                self.parts.term.go_above(highest);
                Some(Why::TooLow)
            }
        }
    }

    fn standings(
        &mut self,
        inputs: &Inputs,
        signing: &Signing,
        now: Instant,
    ) -> BTreeMap<NodeName, Standing> {
        let store = &self.parts.stores.intents;
        let shown = store
            .state()
            .into_iter()
            .filter_map(|object| object.name_any().parse::<NodeName>().ok());
        let nodes = inputs.nodes.iter().map(|node| node.name.clone());
        let mut names: Vec<NodeName> = shown
            .chain(nodes)
            .chain(self.intents.nodes().cloned())
            .collect();
        names.sort();
        names.dedup();
        names
            .into_iter()
            .map(|node| {
                let object = store.get(&ObjectRef::new(node.as_str()));
                let trust = signing.ring.trust();
                let standing = self.intents.standing(&node, object.as_deref(), trust, now);
                (node, standing)
            })
            .collect()
    }

    /// Is there something gone that was still there, or not yet asked about, at the last compile?
    fn is_new_doubt(&self, inputs: &Inputs, remembered: &MemoryContents) -> bool {
        self.last.as_ref().is_none_or(|last| {
            last.world.remembered != *remembered
                || last.world.inputs.policies != inputs.policies
                || last.world.epoch != self.fenced.unwrap_or_default()
                || labels(&last.world.inputs.namespaces) != labels(&inputs.namespaces)
        })
    }

    async fn ask(&self, inputs: &mut Inputs) -> Result<(), PipelineError> {
        let live = confirm(&self.parts.client)
            .await
            .map_err(PipelineError::Api)?;
        let newest = self.parts.requests.newest();
        if let (Some(found), Some(newest)) = (live.revision, newest)
            && found < newest
        {
            return Err(PipelineError::WentBack { found, newest });
        }
        inputs.definition = live.definition;
        let mut namespaces = live.namespaces;
        namespaces.sort_by(|a, b| a.name.cmp(&b.name));
        inputs.namespaces = namespaces;
        Ok(())
    }

    /// The compilation of what was gathered; the last one, if nothing changed.
    async fn compiled(
        &mut self,
        round: &Round,
    ) -> Result<(Arc<Compilation>, Fresh), PipelineError> {
        if let Some(last) = &self.last
            && last.world == round.world
            && last.at.elapsed() < period(round.world.inputs.settings.refresh)
        {
            return Ok((Arc::clone(&last.compilation), Fresh::No));
        }
        let started = Instant::now();
        let world = &round.world;
        let snapshot = snapshot(world, &round.standings, Timestamp::now());
        let span = info_span!("compile", nodes = snapshot.nodes.len());
        let work = tokio::task::spawn_blocking(move || compile(&snapshot));
        let compilation = work
            .instrument(span)
            .await
            .map_err(PipelineError::Compile)?;
        self.parts.metrics.took(Step::Compile, started.elapsed());
        self.parts
            .metrics
            .restored
            .set(gauge(restored(&compilation)));
        self.parts.metrics.held.set(gauge(compilation.held.len()));
        self.parts.metrics.awaited.set(gauge(world.awaited.len()));
        let compilation = Arc::new(compilation);
        self.last = Some(Last {
            world: world.clone(),
            at: Instant::now(),
            compilation: Arc::clone(&compilation),
        });
        Ok((compilation, Fresh::Yes))
    }

    /// Remembers, signs, publishes, and does the chores.
    async fn publish(
        &mut self,
        round: &Round,
        compilation: &Compilation,
        fresh: Fresh,
    ) -> Result<Tally, PipelineError> {
        let started = Instant::now();
        self.keep_trust(round).await?;
        let remembered = match save(self, round, compilation).await? {
            Saved::Remembered(remembered) => remembered,
            Saved::Wait => {
                return Ok(Tally {
                    stale: 1,
                    ..Tally::default()
                });
            }
        };
        let mut tally = Tally::default();
        if fresh == Fresh::Yes {
            let planned = issue::plan_all(self, round, compilation)?;
            self.parts.metrics.took(Step::Sign, started.elapsed());
            if !planned.is_empty() {
                info!(intents = planned.len(), "publishing");
            }
            tally.add(self.writer.publish(planned, &mut self.intents).await);
        }
        let chores = issue::chores(&self.parts.stores, round, compilation);
        for node in &compilation.retired {
            self.intents.forget(node);
        }
        tally.add(do_chores(&self.writer, chores).await);
        self.parts.metrics.took(Step::Publish, started.elapsed());
        if let Some(last) = &mut self.last {
            last.world.remembered = remembered;
        }
        Ok(tally)
    }

    async fn keep_trust(&self, round: &Round) -> Result<(), PipelineError> {
        let namespace = &self.parts.namespace;
        let shown = super::gather::config_map(&self.parts.stores, namespace, crate::signer::TRUST);
        let data = trust_data(round.signing.ring.public());
        let kept = keep_trust(&self.writer, namespace, shown.as_ref(), data).await?;
        if kept == Trusted::Mended {
            news::of_trust(self);
        }
        Ok(())
    }
}

/// Was it compiled just now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    Yes,
    No,
}
