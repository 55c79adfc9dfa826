//! What a verb prints, and how it ends.

use std::process::ExitCode;

use super::error::VerbError;
use crate::output::{Format, TableOutput, render};

/// What a verb found.
pub struct VerbAnswer {
    /// The text for standard output.
    pub text: String,
    pub end: VerbEnd,
}

impl VerbAnswer {
    /// What was found, in a format.
    pub(super) fn of(found: &impl TableOutput, format: Format) -> Result<Self, VerbError> {
        Ok(Self {
            text: render(found, format)?,
            end: match found.is_well() {
                true => VerbEnd::Well,
                false => VerbEnd::Findings,
            },
        })
    }
}

/// How a verb ends. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerbEnd {
    /// 0: done, and everything is as asked for.
    Well,
    /// 3: done, but something is refused, blocked, not in force yet or waits for an approval.
    Findings,
    /// 4: the document was refused.
    Refused,
}

impl From<VerbEnd> for ExitCode {
    fn from(end: VerbEnd) -> Self {
        match end {
            VerbEnd::Well => Self::SUCCESS,
            VerbEnd::Findings => Self::from(3),
            VerbEnd::Refused => Self::from(4),
        }
    }
}
