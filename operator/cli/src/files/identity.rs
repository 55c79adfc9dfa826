//! UIDs and generations of objects that come from files: what an API server would give them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Identities by `kind namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identities {
    known: BTreeMap<String, Identity>,
}

/// The identity of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Identity {
    uid: String,
    generation: i64,
    spec: String,
}

/// Gives identities to the objects of one run.
pub(super) struct Registrar<'a> {
    identities: &'a mut Identities,
    now: Timestamp,
    seen: BTreeSet<String>,
}

impl<'a> Registrar<'a> {
    pub(super) fn new(identities: &'a mut Identities, now: Timestamp) -> Self {
        Self {
            identities,
            now,
            seen: BTreeSet::new(),
        }
    }

    /// Fills in a missing UID and a missing generation. The generation grows when the spec changes; an object that
    /// went and came back has another UID.
    pub(super) fn identify<T: Serialize>(
        &mut self,
        kind: &str,
        metadata: &mut ObjectMeta,
        spec: &T,
    ) {
        let name = metadata.name.as_deref().unwrap_or_default();
        let key = format!(
            "{kind} {}/{name}",
            metadata.namespace.as_deref().unwrap_or_default()
        );
        let digest = digest(&serde_json::to_string(spec).unwrap_or_default());
        let fresh = || Identity {
            uid: uuid(&format!("{key} {}", self.now)),
            generation: 1,
            spec: digest.clone(),
        };
        let identity = self
            .identities
            .known
            .entry(key.clone())
            .or_insert_with(fresh);
        if let Some(given) = &metadata.uid
            && *given != identity.uid
        {
            *identity = Identity {
                uid: given.clone(),
                generation: 1,
                spec: digest.clone(),
            };
        }
        if identity.spec != digest {
            identity.generation += 1;
            identity.spec = digest;
        }
        metadata.uid = Some(identity.uid.clone());
        metadata.generation.get_or_insert(identity.generation);
        self.seen.insert(key);
    }

    /// Forgets objects that are gone.
    pub(super) fn finish(self) {
        let Self {
            identities, seen, ..
        } = self;
        identities.known.retain(|key, _| seen.contains(key));
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// In the form of a UUID, version 8 (RFC 9562: made by the application's own rule).
fn uuid(text: &str) -> String {
    let hex = digest(text);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::{Identities, Registrar};

    fn run(identities: &mut Identities, second: i64, spec: Option<&str>) -> Option<(String, i64)> {
        let now = Timestamp::from_second(second).expect("a time");
        let mut registrar = Registrar::new(identities, now);
        let mut metadata = ObjectMeta {
            name: Some("a".into()),
            ..ObjectMeta::default()
        };
        if let Some(spec) = spec {
            registrar.identify("EgressPolicy", &mut metadata, &spec);
        }
        registrar.finish();
        spec.map(|_| {
            (
                metadata.uid.expect("a UID"),
                metadata.generation.expect("a generation"),
            )
        })
    }

    #[test]
    fn the_generation_grows_with_the_spec_and_the_uid_stays() {
        let mut identities = Identities::default();
        let first = run(&mut identities, 1, Some("x")).expect("an identity");
        let same = run(&mut identities, 2, Some("x")).expect("an identity");
        let changed = run(&mut identities, 3, Some("y")).expect("an identity");
        assert_eq!(first, same);
        assert_eq!(changed, (first.0, 2));
    }

    #[test]
    fn an_object_that_came_back_is_another_one() {
        let mut identities = Identities::default();
        let first = run(&mut identities, 1, Some("x"));
        run(&mut identities, 2, None);
        let second = run(&mut identities, 3, Some("x"));
        assert_ne!(first, second);
    }
}
