//! What tests use: a lab for each test that is removed at its end, senders, waiting, and proofs.
//!
//! ```no_run
//! use postern_e2e::proof::harness::{After, TestLab};
//! use postern_e2e::lab::{PodOptions, UpOptions};
//!
//! let lab = TestLab::up(&UpOptions::default())?;
//! lab.apply_yaml("...")?;
//! let sender = lab.sender("crawlers/crawler", PodOptions::on("n1").label("app", "crawler"))?;
//! let proof = lab.prove("tunnel killed", &sender, After::Stops, |lab| lab.kill("tunnel-n1"))?;
//! assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
//! # Ok::<(), postern_e2e::LabError>(())
//! ```

mod body;
mod documents;
mod listed;
mod objects;
mod proof;
mod sender;
mod series;
mod silence;
mod test_lab;
mod verbs;

pub use body::blank_body;
pub use listed::{ABLATIONS, CLUSTER_RUNS, LONG_RUNS, RUNS, Run};
pub use objects::{exit, policy};
pub use proof::{After, Proof, Wanted};
pub use sender::{FLOWS, Sender};
pub use series::{Proofs, RunProof, Series, Shown, gather_proofs, record_run};
pub use silence::Silence;
pub use test_lab::TestLab;
pub use verbs::WAIT_DEADLINE;

pub use crate::lab::wait_until;
