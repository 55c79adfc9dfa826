//! The loop: an order, an event of the kernel, an answer or the timer wakes it; turns follow until nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use postern_agent_core::isolation::{
    ConfirmAnswer, IsolationFinding, IsolationInputs, IsolationMemory, Restoration, UplinkAct,
    restore, turn,
};
use postern_agent_core::report::ReportedUplinks;
use postern_crds::conditions::Reason;
use postern_crds::node_report::IsolationState;
use postern_host::{Host, HostError, Nature, apply};
use postern_intent::IfName;
use postern_plan::Step;
use postern_plan::host::ObservedLink;
use postern_telemetry::chain;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::ask::ConfirmQuestion;
use super::file::{self, IsolationFile};
use super::{IsolationHandle, IsolationOrder, PublishedUplinks, UplinkOrder, remote};

/// Between two looks when nothing happens.
const CHECK: Duration = Duration::from_secs(3);
/// Pause after a list of links that the kernel interrupted.
const RETRY: SignedDuration = SignedDuration::from_millis(5);
/// How long links may be interrupted in this way until that is reported.
const UNREAD_FOR: Duration = Duration::from_secs(1);
/// Turns of one run at most: a switch takes six.
const TURNS: usize = 32;

/// What the task needs to know.
#[derive(Debug, Clone)]
pub struct IsolationOptions {
    pub state_dir: PathBuf,
    /// The node's setting: links behind which pods are.
    pub pod_links: Vec<String>,
}

/// Starts the task. `events` say that a link may have changed.
#[must_use]
pub fn start<H, S>(host: H, options: IsolationOptions, events: S) -> IsolationHandle
where
    H: Host + 'static,
    S: Stream<Item = ()> + Unpin + Send + 'static,
{
    let kept = file::take(&options.state_dir);
    let (orders, ordered) = watch::channel(UplinkOrder::Unknown);
    let (publisher, published) = watch::channel(PublishedUplinks {
        reported: None,
        guard: kept.guard.clone(),
    });
    let task = IsolationTask {
        host,
        options,
        kept,
        ordered,
        publisher,
        question: ConfirmQuestion::default(),
        answer: ConfirmAnswer::Awaited,
        seen: SeenLinks::default(),
        unread_since: None,
        now: Timestamp::MIN,
    };
    tokio::spawn(task.run(events));
    IsolationHandle { orders, published }
}

/// Brings links back to what they were before the isolation, for a node that is cleaned up; what was done. A link that may be
/// the node's only way out stays up, and the memory stays with it.
///
/// # Errors
/// [`HostError`] of the first act that failed.
pub async fn let_go<H: Host>(
    host: &H,
    kept: &IsolationFile,
    state_dir: &Path,
) -> Result<Vec<Step>, HostError> {
    let mut done = Vec::new();
    let mut memory = kept.memory.clone();
    loop {
        let links = host.list_links().await?;
        let acts = match restore(&memory, &links) {
            Restoration::Acts(acts) if done.len() < TURNS => acts,
            Restoration::Done => break,
            Restoration::Acts(_) | Restoration::AwaitsCarrier => {
                tracing::warn!("a link stays up, because none that was up before has a carrier");
                return Ok(done);
            }
        };
        for act in acts {
            let steps = Vec::from_iter(step(&memory, act.clone()));
            let applied = apply(host, &steps).await;
            done.extend(applied.done);
            match (act, applied.failed) {
                // Routes that the kernel refuses for ever must not keep the agent on the node.
                (UplinkAct::Restore(name), failed) => {
                    if let Some(failed) = failed {
                        let error = &failed.error as &dyn std::error::Error;
                        tracing::warn!(error, link = %name, "the link did not get back what it had");
                    }
                    memory.taken.remove(name.as_str());
                }
                (_, Some(failed)) => return Err(failed.error),
                (_, None) => {}
            }
        }
    }
    if let Err(error) = file::write(state_dir, &IsolationFile::default()) {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the memory of the uplinks cannot be removed");
    }
    Ok(done)
}

/// The step of an act; none where nothing is to be done on a link.
fn step(memory: &IsolationMemory, act: UplinkAct) -> Option<Step> {
    match act {
        UplinkAct::Ask => None,
        UplinkAct::SetDown(name) => Some(Step::SetDown(name)),
        UplinkAct::SetUp(name) => Some(Step::SetUp(name)),
        UplinkAct::Restore(name) => {
            let lost = memory.taken.get(name.as_str()).cloned();
            lost.map(Step::RestoreLink)
        }
    }
}

/// The links of the last reading.
#[derive(Debug, Default)]
struct SeenLinks {
    links: Vec<ObservedLink>,
    /// Links that have a radio, among these.
    wireless: BTreeSet<String>,
    epoch: u64,
}

struct IsolationTask<H> {
    host: H,
    options: IsolationOptions,
    /// What is in the file.
    kept: IsolationFile,
    ordered: watch::Receiver<UplinkOrder>,
    publisher: watch::Sender<PublishedUplinks>,
    question: ConfirmQuestion,
    /// The answer in the phase of now.
    answer: ConfirmAnswer,
    seen: SeenLinks,
    /// Since when links could not be listed.
    unread_since: Option<Instant>,
    /// Never falls while the task runs: a clock that is turned back prolongs no switch.
    now: Timestamp,
}

/// Is there more to do at once?
#[derive(Clone, Copy, PartialEq, Eq)]
enum TurnProgress {
    More,
    Done(Option<Timestamp>),
}

impl<H: Host> IsolationTask<H> {
    async fn run<S: Stream<Item = ()> + Unpin>(mut self, mut events: S) {
        let mut watches = true;
        loop {
            let wake = Instant::now() + self.turns().await;
            tokio::select! {
                changed = self.ordered.changed() => if changed.is_err() {
                    return;
                },
                event = events.next(), if watches => if event.is_none() {
                    tracing::error!("events of links come no more; links are looked at every {} s", CHECK.as_secs());
                    watches = false;
                },
                answer = self.question.answer() => self.answer = answer,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Turns until nothing is left to do; how long nothing is due then.
    async fn turns(&mut self) -> Duration {
        for _ in 0..TURNS {
            let order = self.ordered.borrow_and_update().clone();
            let progress = match &order {
                UplinkOrder::Unknown => TurnProgress::Done(None),
                UplinkOrder::LetGo => self.let_go().await,
                UplinkOrder::Isolate(order) => self.isolate(order).await,
            };
            if let TurnProgress::Done(wake) = progress {
                let wake = wake.map(|at| at.duration_since(self.now));
                let wake = wake.map(|left| left.max(SignedDuration::from_millis(1)));
                let wake = wake.and_then(|left| Duration::try_from(left).ok());
                return wake.map_or(CHECK, |left| left.min(CHECK));
            }
        }
        CHECK
    }

    async fn isolate(&mut self, order: &IsolationOrder) -> TurnProgress {
        self.now = self.now.max(Timestamp::now());
        if let Err(error) = self.look().await {
            // A list that changed while it was read is read again at once.
            let since = *self.unread_since.get_or_insert_with(Instant::now);
            let lasts = since.elapsed() >= UNREAD_FOR;
            if error.nature() == Nature::Transient && !lasts {
                return TurnProgress::Done(Some(self.now + RETRY));
            }
            self.deviates(order, Reason::HostUnreadable, &error);
            return TurnProgress::Done(None);
        }
        self.unread_since = None;
        let memory = &self.kept.memory;
        // TCP sessions are read only where a link may be cut.
        let remote = match memory.is_settled_under(&order.isolation.digest) {
            true => Ok(BTreeMap::new()),
            false => remote::uses(&self.host, &order.api_servers, &self.seen.links).await,
        };
        let remote = match remote {
            Ok(remote) => remote,
            Err(error) => {
                self.deviates(order, Reason::HostUnreadable, &error);
                return TurnProgress::Done(None);
            }
        };
        let turned = turn(
            memory,
            &IsolationInputs {
                isolation: &order.isolation,
                links: &self.seen.links,
                wireless: &self.seen.wireless,
                pod_links: &self.options.pod_links,
                remote: &remote,
                answer: self.answer,
                now: self.now,
            },
        );
        let next = IsolationFile {
            memory: turned.memory,
            guard: turned.finding.guard.clone(),
        };
        let changed = next != self.kept;
        let same_phase = std::mem::discriminant(&next.memory.phase)
            == std::mem::discriminant(&self.kept.memory.phase);
        if changed && let Err(error) = self.keep(next) {
            // Without the marker the agent would not go on with the switch after a crash.
            self.deviates(order, Reason::NotDurable, &error);
            return TurnProgress::Done(None);
        }
        if !same_phase {
            self.question.forget();
            self.answer = ConfirmAnswer::Awaited;
        }
        let acted = self.perform(turned.acts, order).await;
        // The report leaves out a deviation that this run corrects. A change of the guard is published at once.
        let guard_moves = self.publisher.borrow().guard != turned.finding.guard;
        if guard_moves || !(changed || acted) {
            self.publish(order, turned.finding);
        }
        match changed || acted {
            true => TurnProgress::More,
            false => TurnProgress::Done(turned.wake),
        }
    }

    /// The isolation ends. The guard goes first, because links that come up are to carry.
    async fn let_go(&mut self) -> TurnProgress {
        if self.kept == IsolationFile::default() {
            self.publisher
                .send_if_modified(|found| std::mem::take(found) != PublishedUplinks::default());
            return TurnProgress::Done(None);
        }
        self.publisher.send_replace(PublishedUplinks::default());
        if let Err(error) = self.look().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "links cannot be brought back to what they were");
            return TurnProgress::Done(None);
        }
        let acts = match restore(&self.kept.memory, &self.seen.links) {
            Restoration::Acts(acts) => acts,
            Restoration::AwaitsCarrier => return TurnProgress::Done(None),
            Restoration::Done => {
                return match self.keep(IsolationFile::default()) {
                    Ok(()) => TurnProgress::More,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "the memory of the uplinks cannot be removed");
                        TurnProgress::Done(None)
                    }
                };
            }
        };
        let mut failed = false;
        for act in acts {
            failed |= !match act {
                UplinkAct::Restore(name) => self.restore(name).await,
                other => self.do_act(other).await,
            };
        }
        match failed {
            true => TurnProgress::Done(None),
            false => TurnProgress::More,
        }
    }

    async fn look(&mut self) -> Result<(), HostError> {
        let links = self.host.list_links().await?;
        if links == self.seen.links && self.seen.epoch > 0 {
            return Ok(());
        }
        let names = |links: &[ObservedLink]| -> BTreeSet<String> {
            links.iter().map(|link| link.name.clone()).collect()
        };
        if names(&links) != names(&self.seen.links) || self.seen.epoch == 0 {
            self.seen.wireless = self.host.wireless_links().await?;
        }
        self.seen.links = links;
        self.seen.epoch += 1;
        Ok(())
    }

    fn keep(&mut self, next: IsolationFile) -> Result<(), crate::files::FileError> {
        file::write(&self.options.state_dir, &next)?;
        if next.memory.phase != self.kept.memory.phase {
            tracing::info!(from = ?self.kept.memory.phase, to = ?next.memory.phase, "the uplinks change");
        }
        self.kept = next;
        Ok(())
    }

    /// Does what is due; whether the links have to be read again.
    async fn perform(&mut self, acts: Vec<UplinkAct>, order: &IsolationOrder) -> bool {
        let mut acted = false;
        for act in acts {
            match act {
                UplinkAct::Ask => self.question.ask(&self.asked(order)),
                UplinkAct::SetDown(name) => acted |= self.set_down(name).await,
                UplinkAct::SetUp(_) => acted |= self.do_act(act).await,
                UplinkAct::Restore(name) => acted |= self.restore(name).await,
            }
        }
        acted
    }

    async fn set_down(&mut self, name: IfName) -> bool {
        // The first configuration is the one of the link's own manager; later ones are of links that the guard blocks.
        if !self.kept.memory.taken.contains_key(name.as_str()) {
            match self.host.link_config(&name).await {
                Ok(config) => {
                    let mut next = self.kept.clone();
                    next.memory.taken.insert(name.to_string(), config);
                    if let Err(error) = self.keep(next) {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, link = %name, "the link stays up: what it loses cannot be remembered");
                        return false;
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, link = %name, "what the link loses is not known");
                }
            }
        }
        self.do_act(UplinkAct::SetDown(name)).await
    }

    /// Whether it was done. The reason of a failure is in the log of the interpreter.
    async fn do_act(&self, act: UplinkAct) -> bool {
        let steps = Vec::from_iter(step(&self.kept.memory, act));
        apply(&self.host, &steps).await.failed.is_none()
    }

    /// What a link lost is put back; whether it is there. The note goes with it, so that the next one is of then.
    async fn restore(&mut self, name: IfName) -> bool {
        if !self.do_act(UplinkAct::Restore(name.clone())).await {
            return false;
        }
        let mut next = self.kept.clone();
        next.memory.taken.remove(name.as_str());
        let kept = self.keep(next);
        if let Err(error) = &kept {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, link = %name, "what the link got back is remembered still");
        }
        kept.is_ok()
    }

    /// What is asked whether a switch may stay. An address of the node itself answers by no uplink.
    fn asked(&self, order: &IsolationOrder) -> BTreeSet<SocketAddr> {
        remote::of_others(&order.api_servers, &self.seen.links)
    }

    fn deviates(
        &self,
        order: &IsolationOrder,
        reason: Reason,
        error: &(dyn std::error::Error + 'static),
    ) {
        tracing::error!(error, "the uplinks cannot be kept as they are wanted");
        let finding = IsolationFinding {
            state: IsolationState::Deviating,
            reason,
            message: chain(error),
            uplinks: Vec::new(),
            guard: self.kept.guard.clone(),
        };
        self.publish(order, finding);
    }

    fn publish(&self, order: &IsolationOrder, finding: IsolationFinding) {
        let finding = match file::damage(&self.options.state_dir) {
            Some(message) => lost(finding, message),
            None => finding,
        };
        let published = PublishedUplinks {
            guard: finding.guard.clone(),
            reported: Some(ReportedUplinks {
                policy: order.isolation.policy.clone(),
                digest: order.isolation.digest.clone(),
                finding,
                epoch: self.seen.epoch,
            }),
        };
        self.publisher.send_if_modified(|found| {
            let says = |one: &PublishedUplinks| {
                let reported = one.reported.as_ref();
                reported.map(|one| (one.finding.clone(), one.digest.clone()))
            };
            let changed = says(found) != says(&published) || found.guard != published.guard;
            *found = published;
            changed
        });
    }
}

/// The uplinks are isolated, and how links were before it is not known: that is said until somebody has looked.
fn lost(finding: IsolationFinding, message: String) -> IsolationFinding {
    match finding.state {
        IsolationState::Compliant | IsolationState::RolledBack => IsolationFinding {
            state: IsolationState::Deviating,
            reason: Reason::LinkMemoryLost,
            message,
            ..finding
        },
        IsolationState::Held
        | IsolationState::Switching
        | IsolationState::Confirming
        | IsolationState::Deviating => finding,
    }
}
