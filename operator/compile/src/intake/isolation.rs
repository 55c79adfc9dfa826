use postern_crds::InterfaceIsolation;
use postern_crds::conditions::Reason;
use postern_crds::honoured;
use postern_intent::PodName;

use super::error::{IntakeError, Reader};
use crate::snapshot::{SnapshotIsolation, SpecRefusal};

/// Takes in an isolation.
///
/// # Errors
/// [`IntakeError`] if it has no usable name.
pub fn isolation(object: &InterfaceIsolation) -> Result<SnapshotIsolation, IntakeError> {
    let reader = Reader::new("InterfaceIsolation", &object.metadata);
    let name: PodName = reader.name()?;
    let message = honoured::message(&honoured::not_implemented(object));
    Ok(SnapshotIsolation {
        name: name.into(),
        generation: object.metadata.generation.unwrap_or_default(),
        refusal: SpecRefusal {
            reason: Reason::NotImplemented,
            message,
        },
    })
}
