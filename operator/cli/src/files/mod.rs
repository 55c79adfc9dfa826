//! A folder instead of an API server: `manifests/`, `reports/<node>.json` and `approvals.yaml` in;
//! `intents/<node>/intent.dsse.json` and `verdicts.json` out.
//!
//! What the publisher has to know from one run to the next is in `publisher/`: its own copies of the envelopes,
//! because somebody else may write into `intents/`, and `state.json`.

mod error;
mod folder;
mod identity;
mod inputs;
mod known;
mod manifests;
mod publish;
mod published;
mod state;
mod unknown;
mod write;

pub use error::{EnvelopeError, FilesError};
pub use folder::{EnvelopeFolder, PublisherFolder};
pub use inputs::{Inputs, Sources, read_approvals};
pub use known::Known;
pub use manifests::Objects;
pub use publish::{PublishOptions, PublishOutcome, publish, publish_once};
pub use state::State;
pub use write::write_atomically;
