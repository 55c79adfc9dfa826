//! From packets to a verdict: which of them left by something else than the exit in force.

mod bodies;
mod count;
mod difference;
mod inside;
mod packets;
mod timeline;
mod totals;

pub use count::count;
pub use difference::{Difference, compare};
pub use inside::Inside;
pub use packets::{Leak, Packets, PodCount, Source, Unowned};
pub use timeline::{Allowed, Epoch, Exit, Guard, Timeline};
pub use totals::{pod_since, world_packets};
