//! Grants: addresses of answers in the kernel's sets. One task writes them, in batches, and reads them back; the agent holds the
//! same lock while it changes the tables, so that no grant is written into a set that goes at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_host::HostError;
use postern_host::ports::Firewall;
use postern_intent::Address;
use postern_plan::desired::names::GRANTED;
use postern_plan::observed::ObservedTable;
use postern_plan::ruleset::{Atom, Edit, Grant, NftCommand, TableFamily, Transaction};
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::time::timeout;

/// The shortest time of a grant in seconds: clients use an address for a moment after they have asked for it, whatever its time
/// to live says.
pub const SHORTEST: u32 = 60;
/// The longest time of a grant in seconds: a week, beyond which no resolver keeps an answer (RFC 8767, section 4).
pub const LONGEST: u32 = 604_800;
/// What a grant is written for beyond its time, so that a name that is asked again and again is written once a minute.
pub(crate) const SPARE: u64 = 60;

/// How long an answer waits for the kernel: clients give up after 5 s, of which the resolver may have taken two.
const PATIENCE: Duration = Duration::from_secs(2);
/// Answers whose grants are written in one batch.
const ANSWERS_OF_A_BATCH: usize = 256;
/// Answers that may wait for the batch in hand.
const WAITING: usize = 4096;
/// What was written so recently may be missing in a reading that began before.
const READING: Duration = Duration::from_secs(30);
/// Between two looks for what has expired.
const SWEEP: Duration = Duration::from_secs(60);

/// For how long an address with this time to live may be used.
#[must_use]
pub fn grant_time(lasts: u32) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(u64::from(lasts.clamp(SHORTEST, LONGEST)) - 1)
}

/// Why the addresses of an answer do not count as granted.
#[derive(Debug, Clone, Error)]
pub enum GrantError {
    /// The queue is full, or the task that writes grants has ended.
    #[error("too many answers wait for the kernel")]
    Crowded,
    /// The kernel did not take them in time.
    #[error("the kernel has not taken the addresses in time")]
    Late,
    /// The sets are full or cannot be written.
    #[error("the addresses cannot be written")]
    Write(#[source] HostError),
    /// They cannot be read back.
    #[error("the addresses cannot be read back")]
    Read(#[source] HostError),
    /// They were written, and are not there.
    #[error("the addresses are not in the kernel after they were written")]
    Missing,
}

/// Grants in the kernel, as far as this agent wrote or read them.
#[derive(Debug)]
pub struct GrantMemory {
    until: BTreeMap<(String, Address), GrantEntry>,
    swept: Instant,
}

#[derive(Debug, Clone, Copy)]
struct GrantEntry {
    until: Instant,
    written: Instant,
}

/// The memory of grants, shared by the task that writes them and the agent that changes the tables.
#[derive(Debug, Clone)]
pub struct GrantBook(Arc<Mutex<GrantMemory>>);

impl Default for GrantBook {
    fn default() -> Self {
        let memory = GrantMemory {
            until: BTreeMap::new(),
            swept: Instant::now(),
        };
        Self(Arc::new(Mutex::new(memory)))
    }
}

impl GrantBook {
    /// Keeps everybody else from writing grants for as long as it is held.
    pub async fn hold(&self) -> OwnedMutexGuard<GrantMemory> {
        Arc::clone(&self.0).lock_owned().await
    }
}

impl GrantMemory {
    /// Takes over what a reading shows: what an agent before this one granted, and what another program took away.
    pub fn see(&mut self, table: Option<&ObservedTable>) {
        let now = Instant::now();
        let mut seen = BTreeSet::new();
        let sets = table.iter().flat_map(|table| &table.sets);
        for (name, set) in sets.filter(|(name, _)| name.starts_with(GRANTED)) {
            for (key, seconds) in &set.expires {
                let [Atom::Address(address)] = key.as_slice() else {
                    continue;
                };
                let place = (name.clone(), *address);
                let until = now + Duration::from_secs(*seconds);
                let entry = self.until.entry(place.clone());
                let known = entry.or_insert(GrantEntry {
                    until,
                    written: now,
                });
                known.until = known.until.max(until);
                seen.insert(place);
            }
        }
        self.until.retain(|place, entry| {
            seen.contains(place) || now.duration_since(entry.written) < READING
        });
    }

    /// Forgets what a batch of the agent takes away: the elements of sets that it deletes, and, where it makes the table anew, all
    /// that it does not carry over.
    pub fn pass(&mut self, batch: &Transaction) {
        let edits = || {
            batch
                .edits()
                .iter()
                .filter(|edit| edit.family == TableFamily::Inet)
        };
        let is_replaced = batch.replaces(TableFamily::Inet);
        let gone: BTreeSet<&String> = edits().filter_map(deleted).collect();
        let kept: BTreeSet<(&String, Address)> = edits().flat_map(added).collect();
        self.until.retain(|(set, address), _| {
            !gone.contains(set) && (!is_replaced || kept.contains(&(set, *address)))
        });
    }

    /// Until when the kernel holds an address, as far as this agent knows.
    pub(crate) fn until(&self, set: &str, address: Address) -> Option<Instant> {
        let entry = self.until.get(&(set.to_owned(), address));
        entry.map(|entry| entry.until)
    }

    fn lasts(&self, grant: &Grant, now: Instant) -> bool {
        let place = (grant.set.clone(), grant.address);
        let needed = now + Duration::from_secs(grant.seconds.get());
        let entry = self.until.get(&place);
        entry.is_some_and(|entry| entry.until >= needed)
    }

    fn forget(&mut self, grants: &[Grant]) {
        for grant in grants {
            self.until.remove(&(grant.set.clone(), grant.address));
        }
    }

    fn note(&mut self, written: &[Grant], now: Instant) {
        for grant in written {
            let until = now + Duration::from_secs(grant.seconds.get());
            let place = (grant.set.clone(), grant.address);
            let entry = GrantEntry {
                until,
                written: now,
            };
            self.until.insert(place, entry);
        }
        if now.duration_since(self.swept) > SWEEP {
            self.until.retain(|_, entry| entry.until > now);
            self.swept = now;
        }
    }
}

fn deleted(edit: &Edit) -> Option<&String> {
    match &edit.command {
        NftCommand::DeleteSet { name } => Some(name),
        _ => None,
    }
}

fn added(edit: &Edit) -> Vec<(&String, Address)> {
    let NftCommand::AddElements { set, elements, .. } = &edit.command else {
        return Vec::new();
    };
    let keys = elements.iter().map(|element| element.key.as_slice());
    keys.filter_map(|key| match key {
        [Atom::Address(address)] => Some((set, *address)),
        _ => None,
    })
    .collect()
}

/// Addresses of one answer, and who waits for them.
#[derive(Debug)]
pub struct GrantRequest {
    grants: Vec<Grant>,
    done: oneshot::Sender<Result<(), GrantError>>,
}

/// Where answers are granted.
#[derive(Debug, Clone)]
pub struct GrantSender(mpsc::Sender<GrantRequest>);

impl GrantSender {
    /// Both ends; [`write_grants`] serves the second one.
    #[must_use]
    pub fn pair() -> (Self, mpsc::Receiver<GrantRequest>) {
        let (sender, requests) = mpsc::channel(WAITING);
        (Self(sender), requests)
    }

    /// Returns when the kernel was seen to hold the addresses.
    ///
    /// # Errors
    /// [`GrantError`]: none of them counts as granted.
    pub async fn grant(&self, grants: Vec<Grant>) -> Result<(), GrantError> {
        let (done, outcome) = oneshot::channel();
        let request = GrantRequest { grants, done };
        self.0.try_send(request).map_err(|_| GrantError::Crowded)?;
        match timeout(PATIENCE, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(GrantError::Crowded),
            Err(_) => Err(GrantError::Late),
        }
    }
}

/// Writes grants until every sender is gone.
pub async fn write_grants(
    host: impl Firewall,
    book: GrantBook,
    mut requests: mpsc::Receiver<GrantRequest>,
) {
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, ANSWERS_OF_A_BATCH).await > 0 {
        // A forwarder task that does not wait any more has answered SERVFAIL.
        batch.retain(|request| !request.done.is_closed());
        let mut memory = book.hold().await;
        let grants = batch.iter().flat_map(|request| &request.grants);
        let grants: Vec<Grant> = grants.cloned().collect();
        let together = put(&host, &mut memory, &grants).await;
        let is_alone = batch.len() == 1;
        for request in batch.drain(..) {
            // A set that is full or gone, or that another program empties, is one policy's and takes no other one's answers with it.
            let outcome = match &together {
                Err(GrantError::Write(_) | GrantError::Missing) if !is_alone => {
                    put(&host, &mut memory, &request.grants).await
                }
                other => other.clone(),
            };
            drop(request.done.send(outcome));
        }
    }
}

async fn put(
    host: &impl Firewall,
    memory: &mut GrantMemory,
    grants: &[Grant],
) -> Result<(), GrantError> {
    match put_missing(host, memory, grants).await {
        // Another program may have removed an element that this agent wrote.
        Err(GrantError::Missing) => {
            memory.forget(grants);
            put_missing(host, memory, grants).await
        }
        other => other,
    }
}

/// Writes what the memory does not know to be there for long enough, and reads everything back.
async fn put_missing(
    host: &impl Firewall,
    memory: &mut GrantMemory,
    grants: &[Grant],
) -> Result<(), GrantError> {
    let now = Instant::now();
    let missing = grants.iter().filter(|grant| !memory.lasts(grant, now));
    let written: Vec<Grant> = missing
        .map(|grant| Grant {
            seconds: grant.seconds.saturating_add(SPARE),
            ..grant.clone()
        })
        .collect();
    if !written.is_empty() {
        let batch = Transaction::grant(&written);
        let changed = host.change_firewall(&batch).await;
        changed.map_err(GrantError::Write)?;
    }
    if !is_there(host, grants).await? {
        return Err(GrantError::Missing);
    }
    memory.note(&written, now);
    Ok(())
}

async fn is_there(host: &impl Firewall, grants: &[Grant]) -> Result<bool, GrantError> {
    let mut wanted: BTreeMap<String, BTreeSet<Address>> = BTreeMap::new();
    for grant in grants {
        let set = wanted.entry(grant.set.clone()).or_default();
        set.insert(grant.address);
    }
    let there = host.has_addresses(&wanted).await;
    there.map_err(GrantError::Read)
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
