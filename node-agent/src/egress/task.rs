//! The loop: an order, an event of the kernel, a confirmation or the timer wakes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use postern_agent_core::egress::{
    EgressAct, EgressFindings, EgressMemory, EgressOrder, EgressReading, EgressState, WantedEgress,
    decide, is_unfenced,
};
use postern_host::{EgressAddresses, HostError, Links, is_own_link};
use postern_intent::Serial;
use postern_intent::body::{EGRESS_FENCE, EgressTerm};
use postern_plan::host::EgressAddress;
use postern_telemetry::chain;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{EgressHandle, IntentConfirmation};
use crate::clock::Clock;
use crate::latest::send_other;

/// Between two looks where nothing happens.
const CHECK: Duration = Duration::from_secs(1);
/// Between two tries of what the host refused.
const RETRY: SignedDuration = SignedDuration::from_secs(5);
/// Between two looks of a node that has no egress address.
const IDLE: Duration = Duration::from_secs(30);
/// Turns of one run at most. An address takes three: it is asked for, added and announced.
const TURNS: usize = 64;

/// From where the task knows whether the intent is the newest one.
#[derive(Debug)]
pub enum Confirmations {
    /// The source of documents is a folder of the node, which is read all the time.
    Folder,
    /// The API server is asked while this serial is wanted, and its answers come here.
    ApiServer {
        wanted: watch::Sender<Option<Serial>>,
        answers: watch::Receiver<Option<IntentConfirmation>>,
    },
}

/// Starts the task. `events` say that a link or an address may have changed.
#[must_use]
pub fn start<H, S>(host: H, clock: Clock, confirmations: Confirmations, events: S) -> EgressHandle
where
    H: EgressAddresses + Links + Send + Sync + 'static,
    S: Stream<Item = ()> + Unpin + Send + 'static,
{
    let (orders, ordered) = watch::channel(None);
    let (publisher, published) = watch::channel(EgressFindings::default());
    let task = EgressTask {
        host,
        confirmations,
        ordered,
        publisher,
        memory: BTreeMap::new(),
        confirmed: None,
        clock,
        started: (Timestamp::now(), Instant::now()),
        faults: BTreeMap::new(),
        failed: BTreeSet::new(),
    };
    tokio::spawn(task.run(events));
    EgressHandle { orders, published }
}

struct EgressTask<H> {
    host: H,
    confirmations: Confirmations,
    ordered: watch::Receiver<Option<EgressOrder>>,
    publisher: watch::Sender<EgressFindings>,
    memory: BTreeMap<EgressAddress, EgressMemory>,
    /// The last answer that confirmed the intent in force. It counts for a later intent too: when it was given, none had taken
    /// the addresses away.
    confirmed: Option<IntentConfirmation>,
    /// The agent's clock, by which documents run out.
    clock: Clock,
    /// The start of the task by the wall clock and by the monotonic clock.
    started: (Timestamp, Instant),
    /// What the host refused when it was last tried, and when.
    faults: BTreeMap<EgressAddress, (Timestamp, String)>,
    /// Failures that were logged.
    failed: BTreeSet<String>,
}

impl<H: EgressAddresses + Links> EgressTask<H> {
    async fn run<S: Stream<Item = ()> + Unpin>(mut self, mut events: S) {
        let mut watches = true;
        loop {
            let order = self.ordered.borrow_and_update().clone();
            let idle = self.turn(order.as_ref()).await;
            tokio::select! {
                changed = self.ordered.changed() => if changed.is_err() {
                    return;
                },
                event = events.next(), if watches => watches = event.is_some(),
                () = self.confirmations.changed() => {}
                () = sleep(idle) => {}
            }
        }
    }

    /// Acts until nothing is left to do; how long nothing is due then.
    async fn turn(&mut self, order: Option<&EgressOrder>) -> Duration {
        let confirmed = order.filter(|order| order.needs_confirmation());
        self.confirmations.want(confirmed.map(|order| order.serial));
        let Some(order) = order else {
            return self.only_look().await;
        };
        if confirmed.is_none() {
            // Of an earlier time in which another gateway waited.
            self.confirmed = None;
        }
        // By the task's own clock, which no step of the wall clock moves.
        let left = order.not_after.duration_since(self.clock.now());
        let order = EgressOrder {
            not_after: self.now().checked_add(left).unwrap_or(Timestamp::MAX),
            ..order.clone()
        };
        let mut stuck = BTreeSet::new();
        for _ in 0..TURNS {
            let reading = match self.read(order.serial).await {
                Ok(reading) => reading,
                Err(error) => {
                    self.note(&error);
                    return CHECK;
                }
            };
            let (acts, states) = decide(&order, &reading, &self.memory, self.now());
            self.publish(self.findings(&order, reading, states));
            let mut acts = acts.into_iter();
            let Some(act) = acts.find(|act| self.is_due(act) && !stuck.contains(act)) else {
                break;
            };
            // A newer intent may have taken the address away.
            if self.ordered.has_changed().unwrap_or(true) {
                return Duration::ZERO;
            }
            if let Err(error) = self.carry_out(&act).await {
                self.note(&error);
                let fault = (self.now(), chain(&error));
                self.faults.insert(address(&act).clone(), fault);
                stuck.insert(act);
            } else {
                self.faults.remove(address(&act));
            }
        }
        let is_wanted =
            |address: &EgressAddress| order.wanted.iter().any(|wanted| wanted.on == *address);
        self.memory.retain(|address, _| is_wanted(address));
        self.faults.retain(|address, _| is_wanted(address));
        match order.wanted.is_empty() && stuck.is_empty() {
            true => IDLE,
            false => CHECK,
        }
    }

    /// An act that failed is tried again after a pause. The removal of an address is tried again at each turn.
    fn is_due(&self, act: &EgressAct) -> bool {
        let fault = self.faults.get(address(act));
        matches!(act, EgressAct::Drop(_))
            || fault.is_none_or(|(at, _)| self.now().duration_since(*at) >= RETRY)
    }

    fn findings(
        &self,
        order: &EgressOrder,
        reading: EgressReading,
        mut states: Vec<(WantedEgress, EgressState)>,
    ) -> EgressFindings {
        for (wanted, state) in &mut states {
            if matches!(state, EgressState::Coming | EgressState::Held)
                && let Some((_, fault)) = self.faults.get(&wanted.on)
            {
                *state = EgressState::Failed(fault.clone());
            }
        }
        let is_confirmed = |address: &&EgressAddress| {
            let mut wanted = order.wanted.iter();
            wanted.any(|one| one.on == **address && one.term == EgressTerm::Confirmed)
        };
        let unfenced = reading.there.keys().filter(is_confirmed);
        let unfenced = unfenced.filter(|address| is_unfenced(&reading, address));
        let unfenced = unfenced.cloned().collect();
        let is_idle = reading.there.is_empty() && states.is_empty();
        EgressFindings {
            // Most nodes have no egress address, and each of their intents would wake the loop once more.
            serial: if is_idle {
                Serial::default()
            } else {
                order.serial
            },
            there: Some(reading.there.into_keys().collect()),
            unfenced,
            states,
        }
    }

    /// Before the body in force is known: reads and publishes the addresses, and changes nothing.
    async fn only_look(&mut self) -> Duration {
        match self.host.egress_addresses().await {
            Ok(there) => {
                self.publish(EgressFindings {
                    there: Some(there.into_keys().collect()),
                    ..EgressFindings::default()
                });
                IDLE
            }
            Err(error) => {
                self.note(&error);
                CHECK
            }
        }
    }

    async fn read(&mut self, serial: Serial) -> Result<EgressReading, HostError> {
        let there = self.host.egress_addresses().await?;
        let links = self.host.list_links().await?;
        let foreign = links.iter().filter(|link| !is_own_link(&link.name));
        let foreign = foreign.flat_map(|link| {
            let addresses = link.addresses.iter().map(|net| net.addr());
            addresses.map(|address| (link.name.as_str(), address))
        });
        let is_ours = |(device, address): &(&str, _)| {
            let mut ours = there.keys();
            ours.any(|ours| ours.device.as_str() == *device && ours.address == *address)
        };
        let foreign = foreign.filter(|found| !is_ours(found));
        let foreign = foreign.map(|(_, address)| address).collect();
        for (address, memory) in &mut self.memory {
            // Where it comes again, neighbours have to learn of it again.
            memory.announced = memory.announced.filter(|_| there.contains_key(address));
        }
        Ok(EgressReading {
            foreign,
            there,
            confirmed_until: self.confirmed_until(serial),
        })
    }

    fn confirmed_until(&mut self, serial: Serial) -> Option<Timestamp> {
        let Confirmations::ApiServer { answers, .. } = &self.confirmations else {
            return Some(self.now() + EGRESS_FENCE);
        };
        let answer = *answers.borrow();
        let answer = answer.filter(|answer| answer.serial == serial);
        self.confirmed = answer.or(self.confirmed);
        let confirmation = self.confirmed?;
        // A clock that was set, or one that stopped while the machine was suspended, prolongs nothing.
        let age = SignedDuration::try_from(confirmation.asked.elapsed()).ok()?;
        let age = age.max(Timestamp::now().duration_since(confirmation.asked_at));
        Some(self.now() + EGRESS_FENCE - age)
    }

    /// Time by the monotonic clock, counted from the start of the task.
    fn now(&self) -> Timestamp {
        let (at, since) = self.started;
        at + SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    async fn carry_out(&mut self, act: &EgressAct) -> Result<(), HostError> {
        match act {
            EgressAct::Drop(address) => {
                self.host.drop_egress(address).await?;
                self.memory.remove(address);
                self.log("the egress address is removed", address);
            }
            EgressAct::Ask(address) => {
                let answer = self.host.ask_neighbours(address).await?;
                let asked = Some((self.now(), answer));
                self.memory.entry(address.clone()).or_default().asked = asked;
            }
            EgressAct::Keep(address, seconds) => {
                self.host.keep_egress(address, *seconds).await?;
                if self
                    .memory
                    .get(address)
                    .is_none_or(|memory| memory.announced.is_none())
                {
                    self.log("the egress address is added", address);
                }
            }
            EgressAct::Announce(address) => {
                self.host.announce_egress(address).await?;
                let now = self.now();
                let memory = self.memory.entry(address.clone()).or_default();
                let times = memory.announced.map_or(0, |(times, _)| times);
                memory.announced = Some((times.saturating_add(1), now));
            }
        }
        Ok(())
    }

    fn publish(&self, findings: EgressFindings) {
        send_other(&self.publisher, findings);
    }

    fn log(&self, message: &str, address: &EgressAddress) {
        let (device, address) = (&address.device, address.address);
        tracing::info!(%device, %address, "{message}");
    }

    fn note(&mut self, error: &HostError) {
        let text = chain(error);
        if self.failed.insert(text.clone()) {
            tracing::warn!("an egress address cannot be handled: {text}");
        }
    }
}

const fn address(act: &EgressAct) -> &EgressAddress {
    match act {
        EgressAct::Drop(address)
        | EgressAct::Ask(address)
        | EgressAct::Keep(address, _)
        | EgressAct::Announce(address) => address,
    }
}

impl Confirmations {
    /// Ends when another confirmation has come; never, where none comes.
    async fn changed(&mut self) {
        if let Self::ApiServer { answers, .. } = self
            && answers.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    fn want(&self, serial: Option<Serial>) {
        if let Self::ApiServer { wanted, .. } = self {
            send_other(wanted, serial);
        }
    }
}
