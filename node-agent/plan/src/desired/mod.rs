//! From a verified body to what the host should look like.
/// The kernel's lease.
pub const LEASE: &str = "lease";
/// x
pub struct Desired;
