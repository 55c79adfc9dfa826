//! What is going on, for people: a line that moves on a terminal, and lines one below the other anywhere else.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Outside a terminal a stage that goes on counting gets a line once in this time: a build of ten minutes gets twenty
/// lines in a log.
const PACE: Duration = Duration::from_secs(30);

/// Tells stages until it goes.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    told: Option<(String, Instant)>,
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
            told: None,
        }
    }

    /// A stage begins, or has news: what stands before a colon is the stage.
    pub(crate) fn tell(&mut self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
            return;
        }
        let stage = message.split(':').next().unwrap_or(message);
        if is_due(self.told.as_ref(), stage, Instant::now()) {
            eprintln!("lab: {message} ({} s)", self.begun.elapsed().as_secs());
            self.told = Some((stage.to_owned(), Instant::now()));
        }
    }

    /// Ends: what follows stands where the line was.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Is a message about this stage due? A new stage always is.
fn is_due(told: Option<&(String, Instant)>, stage: &str, now: Instant) -> bool {
    told.is_none_or(|(last, at)| last != stage || now.saturating_duration_since(*at) >= PACE)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{PACE, is_due};

    #[test]
    fn a_new_stage_is_told_at_once_and_the_same_one_now_and_then() {
        let now = Instant::now();
        let told = ("building Kubernetes".to_owned(), now);
        assert!(is_due(None, "building Kubernetes", now));
        assert!(!is_due(Some(&told), "building Kubernetes", now));
        assert!(is_due(Some(&told), "starting etcd", now));
        assert!(is_due(Some(&told), "building Kubernetes", now + PACE));
    }
}
