//! Narrow ports to the host, the one interpreter of steps, an honest fake, and the contract that both the fake and
//! the kernel keep.
//!
//! | module | for |
//! |---|---|
//! | [`ports`] | what can be asked of a host, noun by noun |
//! | [`bypass`] | what leads packets past netfilter |
//! | [`error`] | what can go wrong there, act by act |
//! | [`observe`] | one reading of everything that we own |
//! | [`apply`] | the one interpreter of steps |
//! | [`fake`] | a host in memory; its header says how far to believe it |
//! | [`contract`] | the rules that every host keeps, as cases that run on any of them |

pub mod apply;
pub mod bypass;
pub mod contract;
pub mod error;
pub mod fake;
pub mod observe;
pub mod ports;

pub use apply::{Applied, Failed, apply};
pub use bypass::{Bypass, Direction};
pub use error::{Cause, HostError, Nature, NftRefusal};
pub use observe::{Part, Reading, Unread, observe};
pub use ports::{
    Addresses, Devices, Firewall, Flows, Host, Links, Locks, Paths, Protocol, Routes, Rules,
    Tunnels, is_own_link,
};
