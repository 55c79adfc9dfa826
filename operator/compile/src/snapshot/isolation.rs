//! Isolations: none of their fields is honoured yet, so all that is known of one is why it is refused.

use super::policy::SpecRefusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotIsolation {
    pub name: String,
    pub generation: i64,
    /// Why it is refused.
    pub refusal: SpecRefusal,
}
