//! What one compile asks the next one to know, kept in a ConfigMap. Losing it loosens nothing.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::time::Instant;

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_compile::gate::Held;
use postern_compile::snapshot::Memory;
use postern_crds::names::{HELD_ENTRY, MEMORY_CONFIG_MAP};

use super::error::PipelineError;
use super::owned::{Owned, Shows};
use crate::lease::EPOCH_ANNOTATION;

const ENTRY: &str = "memory.json.gz";

/// UID of the policies' definition at the last compile: under another one, policies went with the old definition.
const DEFINITION_ANNOTATION: &str = "postern.dev/definition-uid";

/// The largest memory, in bytes of JSON.
const LIMIT: u64 = 64 * 1024 * 1024;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Remembered {
    /// For the compiler.
    pub memory: Memory,
    /// UID of the definition of policies, as far as one was seen.
    pub definition: Option<String>,
    /// What waits for an approval, for people and `posternctl approve`.
    pub held: Vec<Held>,
}

/// The memory as this process holds it.
#[derive(Debug, Default)]
pub struct Mind {
    held: Option<Remembered>,
    owned: Option<Owned>,
    /// The epoch under which this process wrote it.
    epoch: Option<u64>,
}

/// What reading the memory found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recalled {
    /// It is known.
    Known,
    /// There is none.
    Empty,
    /// There is one that cannot be read; it is replaced.
    Damaged,
}

/// What is to be done with the ConfigMap.
#[derive(Debug, Clone, PartialEq)]
pub enum Keeping {
    /// Nothing: it says what is remembered.
    Nothing,
    /// The watch has not shown the last write yet.
    Wait,
    /// It is made or replaced.
    Write(Box<ConfigMap>),
}

impl Mind {
    /// What is remembered. At the beginning of a term it is read from the ConfigMap; from then on this process knows
    /// it, whatever becomes of the ConfigMap.
    pub fn recall(&mut self, shown: Option<&ConfigMap>, epoch: u64) -> (Remembered, Recalled) {
        if let (Some(held), Some(known)) = (&self.held, self.epoch)
            && known == epoch
        {
            return (held.clone(), Recalled::Known);
        }
        let (found, recalled) = match shown.map(unpack) {
            None => (Remembered::default(), Recalled::Empty),
            Some(Some(found)) => (found, Recalled::Known),
            Some(None) => (Remembered::default(), Recalled::Damaged),
        };
        (found, recalled)
    }

    /// What is to be written. The first write of a term is always made: it moves the version on, so that a stale
    /// leader's is refused.
    ///
    /// # Errors
    /// [`PipelineError::Serialize`] or [`PipelineError::Pack`].
    pub fn keeping(
        &mut self,
        next: &Remembered,
        shown: Option<&ConfigMap>,
        epoch: u64,
        now: Instant,
    ) -> Result<Keeping, PipelineError> {
        let version = shown.and_then(|map| map.metadata.resource_version.as_deref());
        let shows = self.owned.as_mut().map(|owned| owned.look(version, now));
        let same = self.epoch == Some(epoch) && self.held.as_ref() == Some(next);
        match shows {
            Some(Shows::Older) => Ok(Keeping::Wait),
            Some(Shows::Same) if same => Ok(Keeping::Nothing),
            _ => Ok(Keeping::Write(Box::new(pack(next, shown, epoch)?))),
        }
    }

    /// It was written.
    pub fn wrote(&mut self, next: Remembered, metadata: &ObjectMeta, epoch: u64, now: Instant) {
        let version = metadata.resource_version.clone().unwrap_or_default();
        self.owned = Some(Owned::new(version, now));
        self.held = Some(next);
        self.epoch = Some(epoch);
    }
}

fn unpack(map: &ConfigMap) -> Option<Remembered> {
    let packed = map.binary_data.as_ref()?.get(ENTRY)?;
    let mut json = Vec::new();
    GzDecoder::new(packed.0.as_slice())
        .take(LIMIT)
        .read_to_end(&mut json)
        .ok()?;
    let annotations = map.metadata.annotations.as_ref();
    Some(Remembered {
        memory: serde_json::from_slice(&json).ok()?,
        // It is shown and never read back: every compile finds it anew.
        held: Vec::new(),
        definition: annotations.and_then(|all| all.get(DEFINITION_ANNOTATION).cloned()),
    })
}

fn pack(
    next: &Remembered,
    shown: Option<&ConfigMap>,
    epoch: u64,
) -> Result<ConfigMap, PipelineError> {
    let json = serde_json::to_vec(&next.memory).map_err(PipelineError::Serialize)?;
    let held = serde_json::to_string_pretty(&next.held).map_err(PipelineError::Serialize)?;
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    encoder.write_all(&json).map_err(PipelineError::Pack)?;
    let packed = encoder.finish().map_err(PipelineError::Pack)?;
    let mut annotations: BTreeMap<String, String> =
        [(EPOCH_ANNOTATION.to_owned(), epoch.to_string())].into();
    if let Some(uid) = &next.definition {
        annotations.insert(DEFINITION_ANNOTATION.to_owned(), uid.clone());
    }
    Ok(ConfigMap {
        metadata: ObjectMeta {
            name: Some(MEMORY_CONFIG_MAP.to_owned()),
            resource_version: shown.and_then(|map| map.metadata.resource_version.clone()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        data: Some([(HELD_ENTRY.to_owned(), held)].into()),
        binary_data: Some([(ENTRY.to_owned(), ByteString(packed))].into()),
        ..ConfigMap::default()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::{Keeping, Mind, Recalled, Remembered};

    fn remembered(namespace: &str) -> Remembered {
        let mut next = Remembered::default();
        next.memory.deny.insert(namespace.parse().expect("a name"));
        next.definition = Some("u1".to_owned());
        next
    }

    fn written(mind: &mut Mind, next: &Remembered, shown: Option<&ConfigMap>) -> ConfigMap {
        match mind.keeping(next, shown, 3, Instant::now()) {
            Ok(Keeping::Write(mut map)) => {
                map.metadata.resource_version = Some("8".to_owned());
                *map
            }
            other => panic!("a write, not {other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_what_the_next_leader_recalls() {
        let next = remembered("a");
        let map = written(&mut Mind::default(), &next, None);
        let (found, recalled) = Mind::default().recall(Some(&map), 4);
        assert_eq!((found, recalled), (next, Recalled::Known));
    }

    #[test]
    fn a_new_leader_writes_once_and_then_only_what_changed() {
        let (next, now) = (remembered("a"), Instant::now());
        let old = written(&mut Mind::default(), &next, None);
        let mut mind = Mind::default();
        let map = written(&mut mind, &next, Some(&old));
        mind.wrote(next.clone(), &map.metadata, 3, now);
        let mut keeping = |next: &Remembered, shown: Option<&ConfigMap>| {
            mind.keeping(next, shown, 3, now).expect("a memory")
        };
        assert_eq!(keeping(&next, Some(&map)), Keeping::Nothing);
        assert!(matches!(
            keeping(&remembered("b"), Some(&map)),
            Keeping::Write(_)
        ));
        assert!(
            matches!(keeping(&next, None), Keeping::Write(_)),
            "it was deleted"
        );
    }

    #[test]
    fn a_damaged_memory_is_said_to_be_damaged() {
        let mut map = written(&mut Mind::default(), &remembered("a"), None);
        map.binary_data = None;
        let (found, recalled) = Mind::default().recall(Some(&map), 1);
        assert_eq!(
            (found, recalled),
            (Remembered::default(), Recalled::Damaged)
        );
        assert_eq!(Mind::default().recall(None, 1).1, Recalled::Empty);
    }

    #[test]
    fn a_leader_knows_what_it_wrote_whatever_becomes_of_the_config_map() {
        let (next, now) = (remembered("a"), Instant::now());
        let mut mind = Mind::default();
        let map = written(&mut mind, &next, None);
        mind.wrote(next.clone(), &map.metadata, 3, now);
        assert_eq!(mind.recall(None, 3), (next, Recalled::Known));
        assert_eq!(mind.recall(None, 4).1, Recalled::Empty, "another term");
    }
}
