//! XFRM policies: the lock that holds when somebody flushes nft.

mod policy;
mod wire;

pub(crate) use policy::foreign;
