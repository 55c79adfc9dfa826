use jiff::SignedDuration;
use postern_crds::InterfaceIsolation;
use postern_crds::conditions::Reason;
use postern_crds::honoured;
use postern_crds::interface_isolation::{HotspotException, RemoteSafety, Rfkill};
use postern_intent::PodName;
use postern_intent::body::{Hotspot, Isolation, RadioRule, RemoteLinks};

use super::error::{IntakeError, Reader};
use super::invalid;
use crate::lower::digest;
use crate::snapshot::{ParsedSelector, SnapshotIsolation, SpecRefusal};

/// Takes in an isolation.
///
/// # Errors
/// [`IntakeError`] if it has no usable name. Everything else is a refusal in [`SnapshotIsolation::terms`].
pub fn isolation(object: &InterfaceIsolation) -> Result<SnapshotIsolation, IntakeError> {
    let reader = Reader::new("InterfaceIsolation", &object.metadata);
    let name: PodName = reader.name()?;
    let selector = ParsedSelector::try_from(object.spec.node_selector.clone());
    let mut terms = terms(object, name.as_str());
    if let Err(error) = &selector {
        terms = Err(invalid(format!("spec.nodeSelector: {error}")));
    }
    let created = object.metadata.creation_timestamp.as_ref();
    Ok(SnapshotIsolation {
        name: name.into(),
        generation: object.metadata.generation.unwrap_or_default(),
        created: created.map(|time| time.0),
        selector: selector.ok(),
        terms,
    })
}

fn terms(object: &InterfaceIsolation, name: &str) -> Result<Isolation, SpecRefusal> {
    let unknown = honoured::not_implemented(object);
    if !unknown.is_empty() {
        return Err(SpecRefusal {
            reason: Reason::NotImplemented,
            message: honoured::message(&unknown),
        });
    }
    let spec = &object.spec;
    let mut isolation = Isolation {
        policy: name.to_owned(),
        digest: digest::none(),
        preferred: spec.preferred.clone(),
        exclude: spec
            .domain
            .as_ref()
            .map(|domain| domain.exclude.clone())
            .unwrap_or_default(),
        hotspot: spec.exception.as_ref().map(hotspot).transpose()?,
        radios: match spec.rfkill {
            Rfkill::Enforce => RadioRule::Blocked,
            Rfkill::Ignore => RadioRule::Ignored,
        },
        confirm_within_seconds: seconds(&spec.confirm.within)?,
        remote_links: match spec.remote_safety {
            RemoteSafety::Protect => RemoteLinks::Protected,
            RemoteSafety::Override => RemoteLinks::Cut,
        },
    };
    isolation.digest = digest::of_isolation(&isolation);
    Ok(isolation)
}

fn hotspot(exception: &HotspotException) -> Result<Hotspot, SpecRefusal> {
    let name = |field: &str, text: &str| {
        text.parse()
            .map_err(|error| invalid(format!("spec.exception.{field}: {error}")))
    };
    if exception.access_point == exception.upstream {
        return Err(invalid(
            "spec.exception: accessPoint and upstream must be two interfaces",
        ));
    }
    Ok(Hotspot {
        access_point: name("accessPoint", &exception.access_point)?,
        upstream: name("upstream", &exception.upstream)?,
        not_after: exception.not_after.0,
    })
}

/// Whole seconds, rounded up, of a duration above zero.
fn seconds(text: &str) -> Result<u32, SpecRefusal> {
    let refused = |problem: String| invalid(format!("spec.confirm.within: {problem}"));
    let time: SignedDuration = text
        .parse()
        .map_err(|error: jiff::Error| refused(error.to_string()))?;
    let part = i64::from(time.subsec_nanos() > 0);
    u32::try_from(time.as_secs() + part)
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| refused(format!("{text} is not between 1 s and 136 years")))
}
