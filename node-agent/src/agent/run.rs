//! The loop. One task owns the agent; documents, the plugin, the kernel's events and the timer wake it.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use postern_cni::protocol::{CniResponse, Request};
use postern_control::dns_check::DnsCheckReport;
use postern_control::explained::NodeExplanation;
use postern_crds::conditions::Reason;
use postern_host::Host;
use postern_plan::check::Seal;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as latest};
use tokio::time::{Instant, sleep_until};

use super::activation::Activation;
use super::event_pace::EventPace;
use super::explain::ExplainError;
use super::intake::Taken;
use super::reconcile::Again;
use super::report_pace::ReportPace;
use super::state::Agent;
use super::updates::NodeUpdate;
use crate::audit::Entry;
use crate::control::server::Work;
use crate::control::{ControlAnswer, ControlRequest};
use crate::dns::DnsCheckError;
use crate::isolation::PublishedUplinks;
use crate::ledger::{LedgerError, LedgerReading};
use crate::probe::PublishedProbes;
use postern_agent_core::egress::EgressFindings;
use postern_telemetry::{Health, chain};

/// Why the loop ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

/// After a step that may work in a moment; twice as long each time, up to the timer's pace.
const RETRY: Duration = Duration::from_millis(100);
/// Events of the kernel come in crowds: one run answers a crowd.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// The longest that a turn of the loop may take beyond the timer: a run lists the firewall twice and waits for devices that
/// hang, and each of these has a limit of its own of up to 20 s.
const LONGEST_TURN: Duration = Duration::from_secs(120);

/// A run that has been due for so long waits for no pod any more.
const OVERDUE: Duration = Duration::from_secs(3);

/// What wakes the loop, apart from timers.
pub struct Wakers<S> {
    /// Requests on the socket.
    pub work: mpsc::Receiver<Work>,
    /// Events of the kernel.
    pub host: S,
    /// What files of the node say anew; nothing ever comes where nobody reads them again.
    pub updates: mpsc::Receiver<NodeUpdate>,
    /// What probes of exits find.
    pub probes: latest::Receiver<PublishedProbes>,
    /// What the task of the uplinks finds.
    pub uplinks: latest::Receiver<PublishedUplinks>,
    /// What the task of egress addresses finds.
    pub egress: latest::Receiver<EgressFindings>,
    /// How long a node that was away waits for the source of documents before it opens an exit.
    pub first_look: Duration,
    /// Readiness and liveness, for the kubelet's probes.
    pub health: Health,
    /// Between two readings when nothing happens.
    pub check: Duration,
}

/// Runs until a signal comes. Stopping opens nothing: the kernel keeps what is in force.
///
/// # Errors
/// [`RunError`] before the first seal only; later failures are part of the report.
pub async fn run<H, S>(
    mut agent: Agent<H>,
    found: LedgerReading,
    mut wakers: Wakers<S>,
) -> Result<(), RunError>
where
    H: Host,
    S: Stream<Item = ()> + Unpin,
{
    let mut term = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let started = agent.start(&found, wakers.first_look).await;
    agent.tell_readiness(&wakers.health);
    let mut timer = Instant::now();
    let mut delay = RETRY;
    let mut pace = EventPace::default();
    let mut resolvers = ReportPace::default();
    let mut soon = (started == Again::Soon).then(|| Instant::now() + delay);
    loop {
        wakers.health.heartbeat(wakers.check + LONGEST_TURN);
        let next = [
            Some(timer),
            soon,
            agent.next_patience().map(Instant::from_std),
            pace.due(),
            resolvers.due(),
            agent.output.report.due().map(Instant::from_std),
        ];
        let wake = next.into_iter().flatten().min().unwrap_or(timer);
        // Signals come first, then documents, which pods that start wait for, then those pods; events of the host come
        // in crowds and can wait.
        let overdue = timer + OVERDUE <= Instant::now();
        // A lost gateway is an outage of every pod that leaves by it: it is left before the next pod is served.
        let switched = agent.follow_unseen(&wakers.probes).await;
        let activation = tokio::select! {
            biased;
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
            Some(activation) = std::future::ready(switched) => activation,
            Ok(()) = agent.documents.inbox.changed() => Activation::IntentChanged,
            Some(work) = wakers.work.recv(), if !overdue => match agent.serve(work).await {
                Some(activation) => activation,
                None => { agent.output.report.flush(); agent.answer_waiting().await; continue }
            },
            Some(update) = wakers.updates.recv() => agent.take_update(update),
            // The guard of the uplinks follows a switch at once.
            Ok(()) = wakers.uplinks.changed() => Activation::HostChanged,
            Ok(()) = wakers.egress.changed() => Activation::HostChanged,
            Ok(()) = agent.dns.changed() => { resolvers.changed(); continue }
            Some(()) = wakers.host.next(), if pace.is_over() => {
                tokio::time::sleep(DEBOUNCE).await;
                Activation::HostChanged
            }
            () = sleep_until(wake) => {
                if resolvers.takes_turn() { agent.write_report() } else { agent.output.report.flush() }
                agent.answer_waiting().await;
                if soon.is_some_and(|at| at <= Instant::now()) { Activation::Retry }
                else if timer <= Instant::now() { Activation::Timer }
                else { continue }
            }
            // Last: what hangs in a renewal must keep no pod and no event waiting.
            Ok(()) = wakers.probes.changed() => match agent.take_probes(&mut wakers.probes).await {
                Some(activation) => activation,
                None => continue,
            },
        };
        let activation = match agent.take_documents() {
            Taken::Nothing if activation == Activation::IntentChanged => {
                agent.write_report();
                continue;
            }
            Taken::Nothing => activation,
            Taken::New | Taken::Facts => Activation::IntentChanged,
        };
        agent.output.metrics.reconciled(&activation.to_string());
        let again = agent.reconcile(activation).await;
        pace.ran(activation, agent.kernel.last.first_reading);
        delay = match again {
            Again::Soon => (delay * 2).min(wakers.check),
            Again::Later => RETRY,
            Again::AsBefore => delay,
        };
        if again != Again::AsBefore {
            soon = (again == Again::Soon).then(|| Instant::now() + delay);
        }
        timer = Instant::now() + wakers.check;
        agent.tell_readiness(&wakers.health);
    }
    wakers.health.not_ready();
    agent.stop();
    Ok(())
}

fn durable(done: Result<(), LedgerError>) -> ControlAnswer {
    match done {
        Ok(()) => ControlAnswer::done(),
        Err(error) => ControlAnswer::refused(Reason::NotDurable.as_str(), chain(&error)),
    }
}

fn measured(found: Result<DnsCheckReport, DnsCheckError>) -> ControlAnswer {
    match found {
        Ok(report) => ControlAnswer::found(&report),
        Err(error) => ControlAnswer::refused("NotMeasured", chain(&error)),
    }
}

fn explained(found: Result<NodeExplanation, ExplainError>) -> ControlAnswer {
    match found {
        Ok(explanation) => ControlAnswer::found(&explanation),
        Err(error) => ControlAnswer::refused("NotExplained", chain(&error)),
    }
}

impl<H: Host> Agent<H> {
    /// Goes on to another gateway where results that no turn took yet ask for it.
    async fn follow_unseen(
        &mut self,
        probes: &latest::Receiver<PublishedProbes>,
    ) -> Option<Activation> {
        if !probes.has_changed().is_ok_and(|changed| changed) {
            return None;
        }
        let latest = probes.borrow().clone();
        self.follow_probes(&latest).await
    }

    async fn take_probes(
        &mut self,
        probes: &mut latest::Receiver<PublishedProbes>,
    ) -> Option<Activation> {
        let latest = probes.borrow_and_update().clone();
        match self.follow_probes(&latest).await {
            Some(activation) => Some(activation),
            None => self.take_probe(latest).await,
        }
    }

    /// The node is ready when its guard was read back, or when it is released and has no guard. Readiness is withdrawn when
    /// the guard is lost, so that a bad rollout stops at the first node.
    pub fn tell_readiness(&self, health: &Health) {
        match self.kernel.last.seal() {
            Some(Seal::Sealed) => health.ready(),
            None if self.is_released() => health.ready(),
            Some(Seal::NotSealed) | None => {
                health.not_ready_because("the guard was not read back whole");
            }
        }
    }

    /// Serves one request on the socket; the activation of a full run, where one is due.
    async fn serve(&mut self, work: Work) -> Option<Activation> {
        match work {
            Work::Cni(request, answer) => {
                self.serve_plugin(request, answer).await;
                None
            }
            Work::Ask(ControlRequest::Status, answer) => {
                drop(answer.send(ControlAnswer::found(&self.status())));
                None
            }
            Work::Ask(ControlRequest::Explain(asked), answer) => {
                drop(answer.send(explained(self.explain(&asked).await)));
                None
            }
            Work::Ask(ControlRequest::Release { reason }, answer) => {
                drop(answer.send(durable(self.release_by_root(&reason))));
                Some(Activation::Asked)
            }
            Work::Ask(ControlRequest::TrustKeys { reason }, answer) => {
                drop(answer.send(self.trust_by_root(&reason)));
                Some(Activation::IntentChanged)
            }
            Work::Ask(ControlRequest::DnsCheck(check), answer) => {
                let found = self.dns.check(check);
                tokio::spawn(async move {
                    let found = match found {
                        Ok(found) => found.await.unwrap_or(Err(DnsCheckError::NotServed)),
                        Err(error) => Err(error),
                    };
                    drop(answer.send(measured(found)));
                });
                None
            }
            Work::Ask(ControlRequest::Claim, answer) => {
                drop(answer.send(durable(self.claim())));
                Some(Activation::Asked)
            }
            Work::Ask(ControlRequest::TrustClock { reason }, answer) => {
                drop(answer.send(durable(self.trust_clock(&reason))));
                Some(Activation::Asked)
            }
        }
    }

    /// A request of the plugin.
    async fn serve_plugin(&mut self, request: Request, answer: oneshot::Sender<CniResponse>) {
        let response = match request {
            Request::Add(add) if answer.is_closed() => {
                // Its runtime got the answer that the agent is busy, and sends ADD again or removes the sandbox. A binding
                // made now would belong to no pod.
                let pod = format!("{}/{}", add.namespace, add.name);
                return tracing::info!(pod, "an ADD is left that nobody waits for any more");
            }
            Request::Add(add) => return self.cni_add(&add, answer).await,
            Request::Check(check) => self.cni_check(&check.container_id),
            Request::Del(del) => self.cni_del(&del.container_id, &del.ifname).await,
            Request::Gc(gc) => self.cni_gc(&gc.valid_container_ids).await,
            Request::Status => self.cni_status(),
        };
        // Who does not wait for it any more has lost nothing: what was asked is done.
        drop(answer.send(response));
    }

    /// The transaction in hand is finished by now. The ledger is written, the kernel keeps everything.
    fn stop(&mut self) {
        let now = self.clock.now();
        let seen = self.clock.remembered();
        if let Err(error) = self
            .memory
            .ledger
            .record(|entries| entries.highest_time = Some(seen))
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ledger cannot be kept"
            );
        }
        let line = Entry::of(now, "stop", "Stopped", "the kernel state stays in force");
        self.output
            .audit
            .write(&line.about(self.documents.verified.as_deref()));
    }
}
