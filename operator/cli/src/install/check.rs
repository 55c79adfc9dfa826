//! One check and what it found.

use serde::Serialize;

use super::reading::ReadPart;

/// How a check ended, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum CheckResult {
    /// As it should be.
    Passed,
    /// Nothing that was read answers it.
    Unknown,
    /// Postern works, with the restriction that `found` names.
    Warning,
    /// Postern cannot be installed so, or what it promises would not hold.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallCheck {
    /// What was looked at.
    pub check: &'static str,
    pub result: CheckResult,
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub to_do: String,
}

impl InstallCheck {
    /// As it should be.
    pub(super) fn passed(check: &'static str, found: impl Into<String>) -> Self {
        Self::of(check, CheckResult::Passed, found, "")
    }

    pub(super) fn of(
        check: &'static str,
        result: CheckResult,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self {
            check,
            result,
            found: found.into(),
            to_do: to_do.into(),
        }
    }

    /// The check of what was read; what could not be read counts as neither passed nor refused.
    pub(super) fn read<T>(
        check: &'static str,
        part: &ReadPart<T>,
        judge: impl FnOnce(&T) -> Self,
    ) -> Self {
        match part {
            Ok(found) => judge(found),
            Err(why) => Self::of(
                check,
                CheckResult::Unknown,
                format!("could not be read: {why}"),
                "run it again as a user who has this right",
            ),
        }
    }
}
