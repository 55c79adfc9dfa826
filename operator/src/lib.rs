//! The operator: watches the cluster, compiles, signs and publishes the document of each node, and reports the results
//! in statuses. It decides, and changes no host.
//!
//! One pipeline, one list of steps ([`pipeline`]): fence, gather, compile, remember, sign, publish, report.
//!
//! | module | for |
//! |---|---|
//! | [`options`] | the command line |
//! | [`settings`] | the administrator's file |
//! | [`watches`] | the watches and the shared stores that they fill |
//! | [`lease`] | who leads, until when, and how a stale leader is kept out |
//! | [`signer`] | signing keys, the trust root |
//! | [`pipeline`] | the steps |
//! | [`metrics`] | what is counted |
//! | [`health`] | whether the operator is ready, and whether its pipeline makes progress |
//! | [`program`] | how it is put together, and how it ends |

pub mod ask;
pub mod error;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod options;
pub mod pipeline;
pub mod program;
pub mod settings;
pub mod signer;
pub mod watches;
