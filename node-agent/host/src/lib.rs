//! Narrow ports to a host, the one interpreter of steps, and one reading of everything that we own on it.
//!
//! The fake host and the contract suite are in `postern-host-testing`.
//!
//! | module | for |
//! |---|---|
//! | [`ports`] | what can be asked of a host, noun by noun |
//! | [`bypass`] | what leads packets past netfilter |
//! | [`error`] | what can go wrong there, act by act |
//! | [`observe`] | one reading of everything that we own |
//! | [`apply`] | the one interpreter of steps |

pub mod apply;
pub mod bypass;
pub mod error;
pub mod observe;
pub mod ports;

pub use apply::{Applied, Failed, apply};
pub use bypass::{Bypass, Direction};
pub use error::{HostCause, HostError, Nature, NftRefusal};
pub use observe::{Part, Reading, Unread, observe};
pub use ports::{
    Addresses, Devices, EgressAddresses, Firewall, Flows, Host, Links, Locks, Paths, Routes, Rules,
    TransportProtocol, Tunnels, Uplinks, is_own_link,
};
