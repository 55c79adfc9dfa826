//! Reports: only what is read at all. A node may say what it likes about everything else.

use postern_crds::NodeReport;
use postern_intent::Serial;

use super::error::{IntakeError, Reader};
use crate::snapshot::Report;

/// Takes in a report. A key that cannot be used counts as no key.
///
/// # Errors
/// [`IntakeError`] if it has no usable name or node UID.
pub fn report(object: &NodeReport) -> Result<Report, IntakeError> {
    let reader = Reader::new("NodeReport", &object.metadata);
    let status = object.status.as_ref();
    let key = status
        .and_then(|status| status.public_keys.as_ref())
        .and_then(|keys| keys.wireguard.as_ref());
    Ok(Report {
        node: reader.name()?,
        uid: reader.parse(&object.spec.node_uid)?,
        key: key.and_then(|text| text.parse().ok()),
        ledger_serial: status.and_then(|status| status.ledger_serial).map(Serial),
        applied_serial: status.and_then(|status| status.applied_serial).map(Serial),
    })
}
