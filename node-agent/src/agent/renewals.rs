//! When each tunnel may get a new session.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_intent::IfName;

/// Between two new sessions of one tunnel.
const PAUSE: Duration = Duration::from_millis(400);
/// The longest pause, after tries that failed.
const LONGEST: Duration = Duration::from_secs(8);

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The tunnel has a new session.
    Done,
    /// The tunnel's process refused it, or did not answer in time.
    Failed,
    /// The tunnel is not as the agent left it, which a run has to repair and to count: a new session would put back in
    /// silence a peer that another program removed.
    Changed,
}

/// When each tunnel may get a new session, and the pause before it.
#[derive(Debug, Default)]
pub struct Renewals(BTreeMap<IfName, (Instant, Duration)>);

impl Renewals {
    /// Forgets all tunnels but these.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&IfName) -> bool) {
        self.0.retain(|device, _| is_kept(device));
    }

    /// Is it too early for another one?
    pub(super) fn waits(&self, device: &IfName, now: Instant) -> bool {
        self.0.get(device).is_some_and(|(until, _)| now < *until)
    }

    /// A try ended. A tunnel whose process hangs is tried less and less often.
    pub(super) fn tried(&mut self, device: &IfName, outcome: Renewal, now: Instant) {
        let before = self.0.get(device).map_or(PAUSE, |(_, pause)| *pause);
        let pause = match outcome {
            Renewal::Done => PAUSE,
            Renewal::Failed | Renewal::Changed => (before * 2).min(LONGEST),
        };
        self.0.insert(device.clone(), (now + pause, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_whose_process_hangs_is_tried_less_and_less_often() {
        let device: IfName = "pst-c-eu".parse().unwrap();
        let mut renewals = Renewals::default();
        let now = Instant::now();
        assert!(!renewals.waits(&device, now));
        for pause in [800, 1600, 3200, 6400, 8000, 8000] {
            renewals.tried(&device, Renewal::Failed, now);
            let pause = Duration::from_millis(pause);
            assert!(renewals.waits(&device, now + pause - Duration::from_millis(1)));
            assert!(!renewals.waits(&device, now + pause));
        }
        renewals.tried(&device, Renewal::Done, now);
        assert!(!renewals.waits(&device, now + PAUSE));
    }
}
