//! The monitor: sees every packet that a node sends, twice.
//!
//! Once by a packet socket on the LAN's bridge ports, with the kernel's time stamps, kept packet by packet; once by a
//! dynamic nft set in the LAN's bridge family, which only counts. The two know nothing of each other, and neither
//! leaves anything out: what is inside the cluster is decided by the judge.

mod capture;
mod flows;
mod frame;
mod history;
mod log;
mod serve;
mod set;

pub use flows::Kind;
pub use history::{Applied, Published, PublishedCluster};
pub use log::{Key, Recording};
pub use serve::{Synced, run, synchronise};
pub use set::{SetKey, counting_set, read_set};

pub(crate) use history::{read_applied, read_cluster_documents, read_key_sets, read_published};
