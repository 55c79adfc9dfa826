//! What a body would change on its node: the objects that two bodies ask for, and the lines in which they differ.
//!
//! | module | for |
//! |---|---|
//! | [`objects`] | a body as named objects of lines: nft, routes, WireGuard, XFRM, DNS, pods |
//! | [`difference`] | what two such lists have apart |

pub mod difference;
pub mod objects;

pub use difference::{ObjectChange, ObjectDifference, difference};
pub use objects::{PlanObjects, Section, objects};
