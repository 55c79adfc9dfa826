//! Which names brought the addresses that are granted. The kernel's sets have no names, so that they are kept here, for people who ask;
//! nothing is decided by them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postern_intent::Address;
use postern_plan::ruleset::Grant;

use crate::grants::SPARE;

/// Names that are kept of one address in one set: hosts of a content network answer for many.
const NAMES_OF_AN_ADDRESS: usize = 4;
/// Addresses of which names are kept. Beyond it the names of new ones are not known, so that answers cannot fill the memory.
const ADDRESSES: usize = 16_384;
/// Between two looks for what has expired.
const SWEEP: Duration = Duration::from_secs(60);

/// Names of answers that were granted, by set and address.
#[derive(Debug, Clone)]
pub struct GrantedNames(Arc<Mutex<KeptNames>>);

#[derive(Debug)]
struct KeptNames {
    by_place: BTreeMap<(String, Address), VecDeque<KeptName>>,
    swept: Instant,
}

#[derive(Debug)]
struct KeptName {
    name: Arc<str>,
    until: Instant,
}

impl Default for GrantedNames {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(KeptNames {
            by_place: BTreeMap::new(),
            swept: Instant::now(),
        })))
    }
}

impl GrantedNames {
    /// The answer for a name was granted now.
    pub fn note(&self, name: &str, grants: &[Grant]) {
        let (name, now) = (Arc::from(name), Instant::now());
        let mut kept = self.kept();
        kept.sweep(now);
        for grant in grants {
            kept.note(&name, grant, now);
        }
    }

    /// The names whose answers brought an address into a set and are valid, the last one first.
    #[must_use]
    pub fn of(&self, set: &str, address: Address) -> Vec<String> {
        let (now, kept) = (Instant::now(), self.kept());
        let found = kept.by_place.get(&(set.to_owned(), address));
        let valid = found.into_iter().flatten().filter(|one| one.until > now);
        valid.map(|one| one.name.to_string()).collect()
    }

    /// The addresses that answers for a name brought into a set and that are valid.
    #[must_use]
    pub fn addresses(&self, set: &str, name: &str) -> Vec<Address> {
        let (now, kept) = (Instant::now(), self.kept());
        let places = kept.by_place.iter();
        let found = places.filter(|((of, _), names)| {
            let mut names = names.iter();
            of == set && names.any(|one| &*one.name == name && one.until > now)
        });
        found.map(|((_, address), _)| *address).collect()
    }

    fn kept(&self) -> MutexGuard<'_, KeptNames> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptNames {
    fn note(&mut self, name: &Arc<str>, grant: &Grant, now: Instant) {
        let place = (grant.set.clone(), grant.address);
        if self.by_place.len() >= ADDRESSES && !self.by_place.contains_key(&place) {
            return;
        }
        let names = self.by_place.entry(place).or_default();
        let before = names.iter().find(|one| one.name == *name);
        let before = before.map_or(now, |one| one.until);
        names.retain(|one| one.name != *name);
        names.truncate(NAMES_OF_AN_ADDRESS - 1);
        let lasts = grant.seconds.get().saturating_add(SPARE);
        names.push_front(KeptName {
            name: Arc::clone(name),
            // A shorter answer ends no longer one: the kernel keeps the address for the longer time.
            until: before.max(now + Duration::from_secs(lasts)),
        });
    }

    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.by_place.retain(|_, names| {
            names.retain(|one| one.until > now);
            !names.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn grant(address: [u8; 4]) -> Grant {
        Grant {
            set: "granted_one_4".to_owned(),
            address: address.into(),
            seconds: NonZeroU64::new(60).unwrap(),
        }
    }

    #[test]
    fn the_last_names_of_an_address_are_kept_and_no_other_set_has_them() {
        let names = GrantedNames::default();
        for name in ["a.test", "b.test", "c.test", "d.test", "a.test", "e.test"] {
            names.note(name, &[grant([192, 0, 2, 1])]);
        }
        let found = names.of("granted_one_4", [192, 0, 2, 1].into());
        assert_eq!(found, ["e.test", "a.test", "d.test", "c.test"]);
        assert!(names.of("granted_two_4", [192, 0, 2, 1].into()).is_empty());
    }

    #[test]
    fn a_shorter_answer_ends_no_longer_one_and_a_name_has_its_addresses() {
        let names = GrantedNames::default();
        let long = Grant {
            seconds: NonZeroU64::new(3600).unwrap(),
            ..grant([192, 0, 2, 1])
        };
        names.note("a.test", &[long, grant([192, 0, 2, 2])]);
        names.note("a.test", &[grant([192, 0, 2, 1])]);
        let later = Instant::now() + Duration::from_secs(600);
        names.kept().sweep(later);
        let found = names.addresses("granted_one_4", "a.test");
        assert_eq!(found, [Address::from([192, 0, 2, 1])]);
        assert!(names.addresses("granted_two_4", "a.test").is_empty());
    }

    #[test]
    fn answers_cannot_fill_the_memory() {
        let names = GrantedNames::default();
        let number = u32::try_from(ADDRESSES).unwrap() + 1;
        for host in 0..number {
            names.note("a.test", &[grant(host.to_be_bytes())]);
        }
        let last = (number - 1).to_be_bytes();
        assert!(names.of("granted_one_4", last.into()).is_empty());
        assert_eq!(names.kept().by_place.len(), ADDRESSES);
    }
}
