//! Isolations: which nodes one is for is apart from what it asks of them.

use jiff::Timestamp;
use postern_intent::body::Isolation;

use super::policy::SpecRefusal;
use super::selector::ParsedSelector;

/// An InterfaceIsolation.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotIsolation {
    pub name: String,
    pub generation: i64,
    /// When it was made: of two that select one node, the older one counts.
    pub created: Option<Timestamp>,
    /// Which nodes it is for; none: that cannot be read.
    pub selector: Option<ParsedSelector>,
    /// What their documents get, or why the object is refused.
    pub terms: Result<Isolation, SpecRefusal>,
}
