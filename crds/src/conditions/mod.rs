//! Conditions: their types, their reasons, and how a list of them is kept.
//!
//! A type or a reason is spelled here once; every program writes and reads it by its constant.
//! "Blocked" and "failed to block" are never the same reason.

mod kind;
mod list;
mod reason;
mod vocabulary;

pub use kind::ConditionType;
pub use list::{ConditionStatus, Finding, find, is_current, is_true, set};
pub use reason::Reason;
