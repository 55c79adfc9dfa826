//! Is the host as it should be? A host is as it should be when nothing would have to be done to make it so: the check
//! is the plan over what was read back.

mod host;

pub use host::Seal;
