//! UIDs and generations of objects that come from files: what an API server would give them.

use std::collections::{BTreeMap, BTreeSet};

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

/// By `kind namespace/name`: how many objects of a made UID were there before the one that is there now.
pub(super) type Departed = BTreeMap<String, u64>;

/// Gives identities to the objects of one run.
pub(super) struct Registrar<'a> {
    identities: &'a mut Identities,
    departed: &'a mut Departed,
    seen: BTreeSet<String>,
}

impl<'a> Registrar<'a> {
    pub(super) const fn new(identities: &'a mut Identities, departed: &'a mut Departed) -> Self {
        Self {
            identities,
            departed,
            seen: BTreeSet::new(),
        }
    }

    /// Fills in a missing UID and a missing generation. The generation grows when the spec changes; an object that
    /// went and came back has another UID. A made UID depends on nothing but the name and how often an object of that
    /// name went: where the state is lost, objects are who they were.
    pub(super) fn identify<T: Serialize>(
        &mut self,
        kind: &str,
        metadata: &mut ObjectMeta,
        spec: &T,
    ) {
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let key = format!("{kind} {namespace}/{name}");
        let digest = digest(&serde_json::to_string(spec).unwrap_or_default());
        let known = self.identities.known.remove(&key);
        let identity = match (known, metadata.uid.clone()) {
            (Some(known), None) => known.with(digest),
            (Some(known), Some(given)) if known.uid == given => known.with(digest),
            (known, Some(given)) => {
                if let Some(known) = known {
                    part(self.departed, &key, &known);
                }
                Identity::new(given, digest)
            }
            (None, None) => Identity::new(made(self.departed, &key), digest),
        };
        metadata.uid = Some(identity.uid.clone());
        metadata.generation.get_or_insert(identity.generation);
        self.identities.known.insert(key.clone(), identity);
        self.seen.insert(key);
    }

    /// Forgets objects that are gone.
    pub(super) fn finish(self) {
        let Self {
            identities,
            departed,
            seen,
        } = self;
        identities.known.retain(|key, identity| {
            let stays = seen.contains(key);
            if !stays {
                part(departed, key, identity);
            }
            stays
        });
    }
}

impl Identity {
    const fn new(uid: String, spec: String) -> Self {
        Self {
            uid,
            generation: 1,
            spec,
        }
    }

    fn with(mut self, spec: String) -> Self {
        if self.spec != spec {
            self.generation += 1;
            self.spec = spec;
        }
        self
    }
}

/// Counts an object that went. One whose UID was given differs by its UID.
fn part(departed: &mut Departed, key: &str, identity: &Identity) {
    if identity.uid == made(departed, key) {
        *departed.entry(key.to_owned()).or_default() += 1;
    }
}

/// The UID of an object that came without.
fn made(departed: &Departed, key: &str) -> String {
    let before = departed.get(key).copied().unwrap_or_default();
    uuid(&format!("{key} {before}"))
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
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::{Departed, Identities, Registrar};

    #[derive(Default)]
    struct Runs {
        identities: Identities,
        departed: Departed,
    }

    impl Runs {
        fn run(&mut self, spec: Option<&str>) -> Option<(String, i64)> {
            let mut registrar = Registrar::new(&mut self.identities, &mut self.departed);
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
    }

    #[test]
    fn the_generation_grows_with_the_spec_and_the_uid_stays() {
        let mut runs = Runs::default();
        let first = runs.run(Some("x")).expect("an identity");
        let same = runs.run(Some("x")).expect("an identity");
        let changed = runs.run(Some("y")).expect("an identity");
        assert_eq!(first, same);
        assert_eq!(changed, (first.0, 2));
    }

    #[test]
    fn an_object_that_came_back_is_another_one_each_time() {
        let mut runs = Runs::default();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            assert!(seen.insert(runs.run(Some("x")).expect("an identity").0));
            runs.run(None);
        }
    }

    #[test]
    fn where_the_state_is_lost_an_object_is_who_it_was() {
        let uid = || Runs::default().run(Some("x")).expect("an identity").0;
        assert_eq!(uid(), uid());
    }
}
