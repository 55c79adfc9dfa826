//! Isolations: none of their fields is honoured yet, so all that is known of one is why it is refused.

use super::policy::Refusal;

/// An isolation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Its name.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Why it is refused.
    pub refusal: Refusal,
}
