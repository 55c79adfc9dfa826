//! Documents that run out: an operator that lives issues them anew long before.

use jiff::Timestamp;
use postern_crds::NodeIntent;
use postern_crds::conditions::Reason;
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::DsseEnvelope;
use postern_intent::envelope::unpack;
use serde::Deserialize;

use super::finding::{DoctorFinding, Gravity};
use super::objects::{good, unreadable};
use super::snapshot::DoctorSnapshot;

/// A document counts as late when less than this part of its validity is left: by default the operator issues it anew when
/// a twenty-fourth has passed.
const LATE: i64 = 4;

/// What every document has, of which only this is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IssuedDocument {
    issued_at: Timestamp,
}

pub(super) fn findings(snapshot: &DoctorSnapshot) -> Vec<DoctorFinding> {
    let intents = &snapshot.objects.intents;
    let bad = intents.iter().filter_map(|intent| intent.as_ref().err());
    let bad = bad.map(|bad| unreadable("NodeIntent", bad));
    let late = good(intents).filter_map(|intent| judge(intent, snapshot.now));
    bad.chain(late).collect()
}

fn judge(intent: &NodeIntent, now: Timestamp) -> Option<DoctorFinding> {
    let name = intent.metadata.name.as_deref().unwrap_or_default();
    let not_after = intent.spec.not_after.as_ref()?.0;
    let whom = match name {
        CLUSTER_INTENT => "every node blocks",
        _ => "the node blocks",
    };
    let action = "let an operator lead again: posternctl doctor says NoLeader where none does; else its log names what keeps it from publishing";
    let object = ("NodeIntent", name);
    if not_after <= now {
        let message = format!("its document ran out at {not_after}: {whom} what policies select");
        let reason = Reason::LeaseExpired.as_str();
        return Some(DoctorFinding::of(
            Gravity::Blocked,
            reason,
            object,
            message,
            action,
        ));
    }
    let whole = not_after.duration_since(issued_at(intent)?).as_secs();
    let left = not_after.duration_since(now).as_secs();
    (left * LATE < whole).then(|| {
        let message = format!("its document runs out at {not_after} and was not issued anew; then {whom} what policies select");
        DoctorFinding::of(Gravity::Degraded, "ExpiresSoon", object, message, action)
    })
}

/// The payload of the envelope; only agents judge its signature.
fn issued_at(intent: &NodeIntent) -> Option<Timestamp> {
    let envelope = serde_json::to_value(intent.spec.envelope.as_ref()?).ok()?;
    let envelope: DsseEnvelope = serde_json::from_value(envelope).ok()?;
    let json = unpack(&envelope.payload_bytes().ok()?).ok()?;
    let document: IssuedDocument = serde_json::from_slice(&json).ok()?;
    Some(document.issued_at)
}
