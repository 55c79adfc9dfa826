//! The API server, as the operator speaks to it.

mod connect;
mod counted;
mod failure;
mod pace;
mod revision;

pub use connect::{ConnectError, connect};
pub use counted::{Counted, Requests, Wait};
pub use failure::{Act, ApiError, Failure, within};
pub use pace::{Pace, random_number};
pub use revision::NewestRevision;
