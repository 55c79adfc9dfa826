//! What nodes would act on after a compile: the documents that come, or those that stay, joined.

use postern_compile::{ClusterOutcome, Compilation, NodeOutcome, Snapshot};
use postern_intent::{Body, ClusterDocument, NodeDocument};

/// In what a compile with signing keys may differ.
pub(super) const UNPROVED: &str = "proofs of keys are not checked without --key";

/// The cluster document that is in force once a compile is published.
pub(super) fn coming_cluster<'a>(
    snapshot: &'a Snapshot,
    compilation: &'a Compilation,
) -> Option<&'a ClusterDocument> {
    match &compilation.cluster {
        ClusterOutcome::Publish(document) => Some(document),
        ClusterOutcome::Keep => snapshot.previous_cluster.as_ref(),
    }
}

/// What the node would act on: its document, the new one or the one that stays, with the cluster document that comes.
pub(super) fn coming(
    outcome: &NodeOutcome,
    previous: Option<&NodeDocument>,
    cluster: Option<&ClusterDocument>,
) -> Option<Body> {
    let document = match outcome {
        NodeOutcome::Publish(document) => Some(&**document),
        NodeOutcome::Keep | NodeOutcome::Awaited => previous,
        NodeOutcome::Restored => None,
    };
    let (document, cluster) = document.zip(cluster)?;
    Some(Body::of(document.clone(), cluster.clone()))
}
