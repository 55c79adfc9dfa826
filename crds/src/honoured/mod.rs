//! Which fields this version honours, and which fields of an object it does not.
//!
//! Admission refuses a field that is set and not honoured, by policies made from the same table. One that gets past it makes `Accepted=False, reason=NotImplemented`, the message names
//! it, and what the object selects is blocked: asking for more must never give less.

mod admission;
mod find;
mod table;
mod unknown;

pub use admission::admission_policies;
pub use find::{FieldPath, NotImplemented, message};
pub use table::{FIELDS, Honoured, HonouredField, covering};
pub use unknown::unknown_field;

use crate::{ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation};

/// Names each field of an object that is set and not honoured, in the order of the table.
#[must_use]
pub fn not_implemented<K: NotImplemented>(object: &K) -> Vec<FieldPath> {
    find::in_spec(K::KIND, object.spec_value())
}

impl NotImplemented for ExitNode {
    const KIND: &'static str = "ExitNode";

    fn spec_value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(&self.spec)
    }
}

impl NotImplemented for EgressPolicy {
    const KIND: &'static str = "EgressPolicy";

    fn spec_value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(&self.spec)
    }
}

impl NotImplemented for ClusterEgressPolicy {
    const KIND: &'static str = "ClusterEgressPolicy";

    fn spec_value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(&self.spec)
    }
}

impl NotImplemented for InterfaceIsolation {
    const KIND: &'static str = "InterfaceIsolation";

    fn spec_value(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(&self.spec)
    }
}
