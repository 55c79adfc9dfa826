//! What this node can and cannot do, before anything is asked of it. Nothing is changed.
//!
//! ```text
//! look (kernel, /proc) -> Node -> judge -> Vec<Check> -> table or JSON, exit code
//! ```
//!
//! | module | for |
//! |---|---|
//! | [`check`] | a check and what it found |
//! | [`node`] | what was read of the node |
//! | [`look`] | the reading |
//! | [`judge`] | from what was read to checks |
//! | `firewall`, `marks`, `system`, `paths` | the checks, by what they are about |
//! | [`ruleset`] | what nft's JSON says of others |

pub mod check;
mod firewall;
pub mod judge;
pub mod look;
mod marks;
pub mod node;
mod paths;
pub mod ruleset;
mod system;

pub use check::{PreflightCheck, PreflightOutcome};
pub use judge::judge;
pub use look::look;
