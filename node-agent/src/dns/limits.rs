//! How many things may go on at a time, for each client and for all of them. What some clients take is never all of it: a
//! few are kept for each other one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A shared count with two ceilings.
#[derive(Debug, Clone)]
pub(super) struct ClientLimits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    per_client: usize,
    total: usize,
    /// As many are kept for each client, beyond the total. Clients are a node's own pods, so that they are bounded too.
    kept: usize,
    held: Mutex<PermitCounts>,
}

#[derive(Debug, Default)]
struct PermitCounts {
    all: usize,
    by_client: BTreeMap<IpAddr, usize>,
}

/// Leave to go on; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    client: IpAddr,
}

impl ClientLimits {
    pub(super) fn new(per_client: usize, total: usize, kept: usize) -> Self {
        Self(Arc::new(Shared {
            per_client,
            total,
            kept,
            held: Mutex::default(),
        }))
    }

    /// One more for this client, if neither ceiling is reached.
    pub(super) fn admit(&self, client: IpAddr) -> Option<Permit> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.by_client.get(&client).copied().unwrap_or_default();
        if own >= self.0.per_client || (held.all >= self.0.total && own >= self.0.kept) {
            return None;
        }
        held.by_client.insert(client, own + 1);
        held.all += 1;
        Some(Permit {
            shared: Arc::clone(&self.0),
            client,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self
            .shared
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(1);
        if let Some(own) = held.by_client.get_mut(&self.client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_took_everything_leave_every_other_one_what_is_kept_for_it() {
        let limits = ClientLimits::new(2, 3, 1);
        let (a, b, c): (IpAddr, IpAddr, IpAddr) = (
            "10.0.0.1".parse().unwrap(),
            "10.0.0.2".parse().unwrap(),
            "10.0.0.3".parse().unwrap(),
        );
        let held: Vec<_> = [a, a].map(|client| limits.admit(client).unwrap()).into();
        assert!(limits.admit(a).is_none());
        let last = limits.admit(b).unwrap();
        let kept = limits.admit(c).unwrap();
        assert!(limits.admit(c).is_none(), "the total is taken");
        drop((last, kept));
        assert!(limits.admit(c).is_some());
        drop(held);
        assert!(limits.admit(a).is_some());
    }
}
