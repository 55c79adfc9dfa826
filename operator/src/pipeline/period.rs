//! How often the pipeline runs although nothing changed. Pure.

use std::time::Duration;

use jiff::SignedDuration;

/// How often it runs at least although nothing changed: validity, refresh and the windows of the release gate pass without
/// an event. Such a run writes nothing unless a time has come.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// How often it runs at most for the time's sake alone.
pub(super) const SHORTEST_PERIOD: Duration = Duration::from_millis(250);

/// How often it runs although nothing changed: an intent that is refreshed every few seconds runs out within a minute.
pub(super) fn period(refresh: SignedDuration) -> Duration {
    let refresh = Duration::try_from(refresh).unwrap_or_default();
    (refresh / 4).clamp(SHORTEST_PERIOD, PERIOD)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;
    use postern_compile::snapshot::COUNTS_FOR;

    use super::{PERIOD, SHORTEST_PERIOD, period};

    #[test]
    fn a_report_that_no_longer_counts_is_seen_within_four_minutes_as_documented() {
        let counts = Duration::try_from(COUNTS_FOR).expect("a duration");
        assert!(counts + period(SignedDuration::from_hours(24)) <= Duration::from_secs(240));
    }

    #[test]
    fn a_refresh_that_is_due_is_seen_long_before_the_intent_runs_out() {
        assert_eq!(period(SignedDuration::from_hours(1)), PERIOD);
        assert_eq!(period(SignedDuration::from_secs(4)), Duration::from_secs(1));
        assert_eq!(period(SignedDuration::ZERO), SHORTEST_PERIOD);
    }
}
