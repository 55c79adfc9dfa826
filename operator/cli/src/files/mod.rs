//! A folder instead of an API server: `manifests/`, `reports/<node>.json` and `approvals.yaml` in;
//! `intents/<node>/intent.dsse.json` and `verdicts.json` out.
//!
//! What the publisher has to know from one run to the next is in `publisher/`: its own copies of the envelopes,
//! because somebody else may write into `intents/`, and `state.json`.

mod earlier_runs;
mod error;
mod folder;
mod identity;
mod inputs;
mod manifests;
mod publish;
mod published;
mod state;
mod unknown;
mod write;

pub use earlier_runs::EarlierRuns;
pub use error::{EnvelopeError, FilesError};
pub use folder::{EnvelopeFolder, PublisherFolder};
pub use inputs::{ApprovalsFile, FileInputs, Sources, read_approvals};
pub use manifests::ManifestObjects;
pub use publish::{FolderSigner, PublishOptions, PublishOutcome, publish, publish_once};
pub use state::PublisherState;
pub use write::write_atomically;
