//! What waits for a person, and whether a person has approved it.

use sha2::{Digest as _, Sha256};

use super::held::{HeldUntil, PendingApproval, ReleaseGround};
use crate::index::Index;
use crate::snapshot::HeldRecord;

pub(super) fn is_about(record: &HeldRecord, ground: &ReleaseGround) -> bool {
    record.subject == ground.subject && record.cause == ground.cause
}

/// Did a person approve it?
pub(super) fn is_approved(index: &Index<'_>, ground: &ReleaseGround) -> bool {
    let digest = held(index, ground, 0).digest;
    let mut approvals = index.snapshot.approvals.iter();
    approvals.any(|approval| {
        approval.subject == ground.subject
            && approval.cause == ground.cause
            && approval.digest == digest
    })
}

/// How something waits: with the time of its first appearance in the digest, so that an approval fits one time only.
pub(super) fn held(index: &Index<'_>, ground: &ReleaseGround, pods: usize) -> PendingApproval {
    let known = &index.snapshot.memory.held;
    let since = known
        .iter()
        .find(|record| is_about(record, ground))
        .map_or(index.snapshot.now, |record| record.since);
    let text = format!(
        "{}\n{}\n{}\n{since}",
        ground.subject, ground.cause, ground.identity
    );
    let digest = Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    PendingApproval {
        subject: ground.subject.clone(),
        cause: ground.cause,
        digest,
        since,
        pods,
        until: HeldUntil::Approved,
        uid: ground
            .identity
            .split(' ')
            .next()
            .and_then(|uid| uid.parse().ok()),
    }
}
