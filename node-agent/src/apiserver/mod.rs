//! The exchange between the API server and the agent's loop: a source of documents and a sink of reports.
//!
//! ```text
//! API server -> NodeIntent -> [intent] -> channel of documents -> the agent's loop
//! API server <- NodeReport/status <- [report] <- channel of reports <-'
//! token, trust folder -> [credentials] -> updates -> the agent's loop
//! ```
//!
//! It decides nothing and verifies nothing: the loop judges the documents. It runs in tasks of its
//! own, and whatever the API server does, the agent goes on with its ledger: seal first, API later.
//!
//! | module | for |
//! |---|---|
//! | `client` | the client, and the token |
//! | [`token`] | the node's UID in the agent's own token |
//! | [`identity`] | which node this is, remembered for a start without a token |
//! | `credentials` | token and trust folder, read again when they change |
//! | [`documents`] | which documents an object of the API carries |
//! | `intent` | the watch |
//! | `confirm` | whether the intent is still the newest one, while egress addresses depend on it |
//! | `report` | the report's status, by server-side apply |
//! | [`health`] | whether the API server answers, logged once a change, and how long to wait after a failure |
//! | [`metrics`] | metrics |
//! | [`error`] | why the API server could not be asked |

mod client;
mod confirm;
mod credentials;
pub mod documents;
pub mod error;
pub mod health;
pub mod identity;
mod intent;
pub mod metrics;
mod report;
mod start;
pub mod token;

pub use start::{ApiServerOptions, start};
