//! What a verb prints, and how it ends.

use std::process::ExitCode;

use super::error::VerbError;
use crate::output::{Format, Shown, render};

/// What a verb found.
pub struct Answer {
    /// The text for standard output.
    pub text: String,
    /// How it ends.
    pub end: End,
}

impl Answer {
    /// What was found, in a format.
    pub(super) fn of(found: &impl Shown, format: Format) -> Result<Self, VerbError> {
        Ok(Self {
            text: render(found, format)?,
            end: match found.is_well() {
                true => End::Well,
                false => End::Findings,
            },
        })
    }
}

/// How a verb ends. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// 0: done, and everything is as asked for.
    Well,
    /// 3: done, but something is refused, blocked, not in force yet or waits for an approval.
    Findings,
    /// 4: the document was refused.
    Refused,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Well => Self::SUCCESS,
            End::Findings => Self::from(3),
            End::Refused => Self::from(4),
        }
    }
}
