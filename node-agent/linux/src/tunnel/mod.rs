//! WireGuard devices: the kernel's by generic netlink, others by the cross-platform userspace protocol.
//!
//! Both are configured by the same list of [`change::TunnelChange`]s: the difference between what the device answers and what
//! it should be. What is right already is not sent: setting a key or a port that is set already ends sessions.

mod change;
mod device;
mod kernel;
mod key;
mod uapi;
mod userspace;

pub use key::PrivateKey;
