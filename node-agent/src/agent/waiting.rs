//! Pods whose ADD waits for an intent that lists them.

use std::time::Instant;

use postern_cni::protocol::CniResponse;
use postern_intent::Uid;
use tokio::sync::oneshot;

/// A pod whose ADD waits.
#[derive(Debug)]
pub struct WaitingPod {
    pub(super) uid: Uid,
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<CniResponse>,
}
