//! The client of the API server, shared by every program that has one.
//!
//! | module | for |
//! |---|---|
//! | [`connect`] | where the API server is, and a client that retries nothing by itself |
//! | [`deadline`] | an answer, or the word that none came in time |
//! | [`failure`] | what went wrong with a request, and what that means for the one who asked |
//! | [`pace`] | how long to wait after a failure |
//! | [`requests`] | a layer that counts requests and keeps what answers say in `Retry-After` and `Date` |
//! | [`revision`] | the newest revision of one resource |

mod connect;
mod deadline;
mod failure;
mod pace;
mod requests;
mod revision;

pub use connect::{ConnectError, Endpoint, KubeconfigTrust, ServerAddress, client, config};
pub use deadline::{DEADLINE, NoAnswer, in_time};
pub use failure::{ApiError, ApiVerb, Failure, within};
pub use pace::{Pace, random_number};
pub use requests::{Counted, CountedLayer, RequestLabels, Requests, Wait};
pub use revision::NewestRevision;
