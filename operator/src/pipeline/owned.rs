//! What this process wrote last, and whether the watch has shown it yet. Pure.

use std::time::{Duration, Instant};

/// How long a watch may take to show a write. A watch that needs longer has lost it, or somebody deleted the object
/// between two looks.
const PATIENCE: Duration = Duration::from_secs(30);

/// A version that this process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnWrite {
    version: String,
    at: Instant,
    shown: bool,
}

/// How what the watch shows compares with what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownVersion {
    /// The watch has not come so far: wait for it.
    Older,
    /// It shows exactly what was written.
    Same,
    /// Somebody else wrote later.
    Newer,
    /// It has shown it, and now there is nothing: somebody deleted it.
    Nothing,
}

impl OwnWrite {
    #[must_use]
    pub(super) const fn new(version: String, at: Instant) -> Self {
        Self {
            version,
            at,
            shown: false,
        }
    }

    /// Compares with the version that the watch shows; none: it shows no object.
    pub(super) fn look(&mut self, shown: Option<&str>, now: Instant) -> ShownVersion {
        let late = now.saturating_duration_since(self.at) >= PATIENCE;
        match shown {
            None if self.shown || late => ShownVersion::Nothing,
            None => ShownVersion::Older,
            Some(version) if version == self.version => {
                self.shown = true;
                ShownVersion::Same
            }
            // Resource versions of one API server are numbers that only grow (KEP-5504).
            Some(version) => match (version.parse::<u64>(), self.version.parse::<u64>()) {
                (Ok(shown), Ok(own)) if shown < own && !late => ShownVersion::Older,
                _ => ShownVersion::Newer,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{OwnWrite, ShownVersion};

    #[test]
    fn a_write_is_waited_for_and_then_missed() {
        let now = Instant::now();
        let mut owned = OwnWrite::new("10".to_owned(), now);
        assert_eq!(owned.look(None, now), ShownVersion::Older);
        assert_eq!(owned.look(Some("9"), now), ShownVersion::Older);
        assert_eq!(owned.look(Some("10"), now), ShownVersion::Same);
        assert_eq!(owned.look(Some("11"), now), ShownVersion::Newer);
        assert_eq!(owned.look(None, now), ShownVersion::Nothing);
    }

    #[test]
    fn a_write_that_is_never_shown_is_not_waited_for_for_ever() {
        let now = Instant::now();
        let late = now + Duration::from_secs(30);
        assert_eq!(
            OwnWrite::new("10".to_owned(), now).look(None, late),
            ShownVersion::Nothing
        );
        assert_eq!(
            OwnWrite::new("10".to_owned(), now).look(Some("9"), late),
            ShownVersion::Newer
        );
    }
}
