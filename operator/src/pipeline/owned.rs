//! What this process wrote last, and whether the watch has shown it yet. Pure.

use std::time::{Duration, Instant};

/// How long a watch may take to show a write. A watch that needs longer has lost it, or somebody deleted the object
/// between two looks.
const PATIENCE: Duration = Duration::from_secs(30);

/// A version that this process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    version: String,
    at: Instant,
    shown: bool,
}

/// How what the watch shows compares with what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// The watch has not come so far: wait for it.
    Older,
    /// It shows exactly what was written.
    Same,
    /// Somebody else wrote later.
    Newer,
    /// It has shown it, and now there is nothing: somebody deleted it.
    Nothing,
}

impl Owned {
    /// Written now.
    #[must_use]
    pub(super) const fn new(version: String, at: Instant) -> Self {
        Self {
            version,
            at,
            shown: false,
        }
    }

    /// Compares with the version that the watch shows; none: it shows no object.
    pub(super) fn look(&mut self, shown: Option<&str>, now: Instant) -> Shows {
        let late = now.saturating_duration_since(self.at) >= PATIENCE;
        match shown {
            None if self.shown || late => Shows::Nothing,
            None => Shows::Older,
            Some(version) if version == self.version => {
                self.shown = true;
                Shows::Same
            }
            // Resource versions of one API server are numbers that only grow (KEP-5504).
            Some(version) => match (version.parse::<u64>(), self.version.parse::<u64>()) {
                (Ok(shown), Ok(own)) if shown < own && !late => Shows::Older,
                _ => Shows::Newer,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Owned, Shows};

    #[test]
    fn a_write_is_waited_for_and_then_missed() {
        let now = Instant::now();
        let mut owned = Owned::new("10".to_owned(), now);
        assert_eq!(owned.look(None, now), Shows::Older);
        assert_eq!(owned.look(Some("9"), now), Shows::Older);
        assert_eq!(owned.look(Some("10"), now), Shows::Same);
        assert_eq!(owned.look(Some("11"), now), Shows::Newer);
        assert_eq!(owned.look(None, now), Shows::Nothing);
    }

    #[test]
    fn a_write_that_is_never_shown_is_not_waited_for_for_ever() {
        let now = Instant::now();
        let late = now + Duration::from_secs(30);
        assert_eq!(
            Owned::new("10".to_owned(), now).look(None, late),
            Shows::Nothing
        );
        assert_eq!(
            Owned::new("10".to_owned(), now).look(Some("9"), late),
            Shows::Newer
        );
    }
}
