//! The steps that write what nodes read: stamps, the memory, intents, reports to fill, the trust root.

mod fence;
mod names;
mod plan;
mod sign;
mod taint;
mod trust;
mod write;

pub use fence::{Fenced, fence};
pub use names::{Chores, There, chores, do_chores};
pub use plan::{Change, Planned, Way, plan};
pub(crate) use sign::announce;
pub use sign::{KeySetToShow, resigned, spec};
pub use taint::{untaint, without_taint};
pub use trust::{Trusted, keep_trust};
pub use write::{Tally, Writer};
