//! From packets to a verdict: which of them left by something else than the exit in force.

mod count;
mod difference;
mod timeline;
mod totals;

pub use count::{Leak, Packets, PodCount, Source, count};
pub use difference::{Difference, compare};
pub use timeline::{Allowed, Epoch, Guard, Timeline};
pub use totals::{pod_since, world_packets};
