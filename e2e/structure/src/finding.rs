//! What a rule has found at one place.

/// Whether a finding stops the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rule is broken.
    Fail,
    /// A soft budget is exceeded: worth a look, no failure.
    Note,
}

/// One place where a rule is broken or a soft budget exceeded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whether it stops the build.
    pub severity: Severity,
    /// The rule's name, as the documents cite it.
    pub rule: &'static str,
    /// The file, relative to the workspace's root, or the package.
    pub place: String,
    /// The line, counted from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong and what to do instead.
    pub message: String,
}

impl Finding {
    pub fn fail(
        rule: &'static str,
        place: impl Into<String>,
        line: usize,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Fail,
            rule,
            place: place.into(),
            line,
            message: message.into(),
        }
    }

    /// An exceeded soft budget.
    pub fn note(
        rule: &'static str,
        place: impl Into<String>,
        line: usize,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::fail(rule, place, line, message)
        }
    }
}
