//! The progress of a long verb: one line that changes on a terminal, and a line for each stage elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Outside a terminal, a stage that changes its numbers is printed again after this time. A build of ten minutes gets
/// twenty lines in a log.
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);

/// Shows the current stage until it is dropped or ended.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    last: Option<(String, Instant)>,
}

impl Progress {
    /// Begins, on standard error.
    pub(crate) fn begin() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            begun: Instant::now(),
            last: None,
        }
    }

    /// Shows a stage, or new numbers of it: the text before the colon is the name of the stage.
    pub(crate) fn show(&mut self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
            return;
        }
        let stage = message.split(':').next().unwrap_or(message);
        if is_due(self.last.as_ref(), stage, Instant::now()) {
            eprintln!("lab: {message} ({} s)", self.begun.elapsed().as_secs());
            self.last = Some((stage.to_owned(), Instant::now()));
        }
    }

    /// Removes the line, so that the next output takes its place.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether a message about this stage is printed. A new stage always is.
fn is_due(last: Option<&(String, Instant)>, stage: &str, now: Instant) -> bool {
    last.is_none_or(|(shown, at)| {
        shown != stage || now.saturating_duration_since(*at) >= REPEAT_INTERVAL
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{REPEAT_INTERVAL, is_due};

    #[test]
    fn a_new_stage_is_shown_at_once_and_the_same_one_at_intervals() {
        let now = Instant::now();
        let last = ("building Kubernetes".to_owned(), now);
        assert!(is_due(None, "building Kubernetes", now));
        assert!(!is_due(Some(&last), "building Kubernetes", now));
        assert!(is_due(Some(&last), "starting etcd", now));
        assert!(is_due(
            Some(&last),
            "building Kubernetes",
            now + REPEAT_INTERVAL
        ));
    }
}
