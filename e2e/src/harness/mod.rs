//! What tests use: a lab of their own that goes when they end, senders, waiting, and proofs.

mod body;
mod proof;
mod sender;
mod test_lab;

pub use body::blank_body;
pub use proof::{After, Proof};
pub use sender::{FLOWS, Sender};
pub use test_lab::{PATIENCE, TestLab};

pub use crate::lab::wait_until;
