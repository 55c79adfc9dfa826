//! The fence: a new leader stamps every published intent with its epoch before it compiles for the first time, so
//! that every version that a stopped old leader still holds is out of date. Pure.

use std::collections::BTreeMap;

/// The annotation with the epoch under which an object was last written.
pub use postern_crds::names::EPOCH_ANNOTATION;

/// What is to be done before a compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StampState<K> {
    /// Every object carries the epoch.
    All,
    /// These do not: they are stamped, and nothing is compiled until the watch has shown it.
    Missing(Vec<K>),
    /// Objects carry an epoch that this leader cannot stamp over: it has to lead under one above.
    Above(u64),
}

/// Whether this leader has looked at the stamps before in this epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampLook {
    /// It has not: a stamp with its own epoch is somebody else's.
    First,
    /// It has: a stamp with its own epoch is its own.
    Again,
}

/// The epoch of an object; 0 if it was never stamped, or with something that is no number.
#[must_use]
pub fn epoch_of(annotations: Option<&BTreeMap<String, String>>) -> u64 {
    annotations
        .and_then(|all| all.get(EPOCH_ANNOTATION))
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Looks at the stamps of all objects.
pub fn look_at_stamps<K>(
    objects: impl IntoIterator<Item = (K, u64)>,
    epoch: u64,
    look: StampLook,
) -> StampState<K> {
    let mut missing = Vec::new();
    let mut highest = 0;
    for (key, found) in objects {
        highest = highest.max(found);
        if found < epoch {
            missing.push(key);
        }
    }
    let taken = match look {
        StampLook::First => highest >= epoch,
        StampLook::Again => highest > epoch,
    };
    match (taken, missing.is_empty()) {
        (true, _) => StampState::Above(highest),
        (false, true) => StampState::All,
        (false, false) => StampState::Missing(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::{EPOCH_ANNOTATION, StampLook, StampState, epoch_of, look_at_stamps};

    fn stamped(epochs: &[u64], epoch: u64, look: StampLook) -> StampState<usize> {
        look_at_stamps(epochs.iter().copied().enumerate(), epoch, look)
    }

    #[test]
    fn older_stamps_and_missing_ones_are_stamped_over() {
        assert_eq!(
            stamped(&[0, 4, 5], 6, StampLook::First),
            StampState::Missing(vec![0, 1, 2])
        );
        assert_eq!(
            stamped(&[6, 4, 6], 6, StampLook::Again),
            StampState::Missing(vec![1])
        );
        assert_eq!(stamped(&[6, 6], 6, StampLook::Again), StampState::All);
        assert_eq!(stamped(&[], 6, StampLook::First), StampState::All);
    }

    #[test]
    fn a_stamp_of_the_same_epoch_is_somebody_elses_at_the_first_look() {
        // The lease was deleted and counts from the start again: writing the same stamp would change no version.
        assert_eq!(stamped(&[1, 1], 1, StampLook::First), StampState::Above(1));
        assert_eq!(stamped(&[9, 1], 2, StampLook::First), StampState::Above(9));
        assert_eq!(stamped(&[9, 1], 2, StampLook::Again), StampState::Above(9));
    }

    #[test]
    fn what_is_no_number_was_never_stamped() {
        let annotations = [(EPOCH_ANNOTATION.to_owned(), "soon".to_owned())].into();
        assert_eq!((epoch_of(None), epoch_of(Some(&annotations))), (0, 0));
    }
}
