//! Which uplink may be up.

use serde::{Deserialize, Serialize};

/// Which uplink may be up; honoured from the isolation release on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// Interface names or patterns with a trailing `*`, in order of preference.
    pub preferred: Vec<String>,
    /// Patterns of interfaces that are not looked at.
    pub exclude: Vec<String>,
}
