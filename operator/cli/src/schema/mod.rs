//! What an API server would answer to an object of the users' kinds, by the same definitions: their structural schema, and
//! their CEL rules as the crate `kube-cel` evaluates them. Pure.
//!
//! A rule that cannot be evaluated here refuses the object and says so; nothing is passed over.

mod judge;
mod lists;
mod nulls;
mod patterns;
mod structure;

pub use judge::{SchemaError, SchemaRefusal, judge, prune};
