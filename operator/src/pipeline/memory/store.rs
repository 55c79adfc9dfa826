//! The memory as this process holds it: loaded at the beginning of a term, and from then on known. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_intent::Namespace;

use super::contents::{MemoryContents, PageName};
use super::page::{PageError, pack, unpack};
use crate::pipeline::owned::{OwnWrite, ShownVersion};

/// How long a page that the API server refused is left alone while it would say the same: it refuses the same again.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// The memory as this process holds it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    contents: Option<MemoryContents>,
    /// The epoch under which this process loaded it.
    epoch: Option<u64>,
    pages: BTreeMap<PageName, StoredPage>,
    refused: BTreeMap<PageName, RefusedPage>,
}

/// A page that this process read or wrote.
#[derive(Debug)]
struct StoredPage {
    part: MemoryContents,
    owned: OwnWrite,
    /// The epoch of the write; none: it was read.
    epoch: Option<u64>,
}

#[derive(Debug)]
struct RefusedPage {
    part: MemoryContents,
    at: Instant,
    why: String,
}

/// A page that the API server refuses: what it would say of these namespaces is not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwrittenPage {
    pub page: PageName,
    /// The namespaces whose policies it holds.
    pub namespaces: Vec<Namespace>,
    /// What the API server said.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedMemory {
    Known,
    Empty,
    /// A page of it cannot be read; it is replaced.
    Damaged,
}

/// What is to be done with the pages.
#[derive(Debug)]
pub enum PageWrites {
    /// The watch has not shown the last write of a page yet.
    Wait,
    /// These are made or replaced; none: all of them say what is remembered.
    These(Vec<(PageName, ConfigMap)>),
}

impl MemoryStore {
    /// What is remembered. At the beginning of a term it is read from the ConfigMaps; from then on this process knows it,
    /// whatever becomes of them.
    ///
    /// # Errors
    /// [`PageError::Newer`]: whoever reads less than was written would loosen.
    pub fn load(
        &mut self,
        shown: impl Fn(PageName) -> Option<ConfigMap>,
        epoch: u64,
        now: Instant,
    ) -> Result<(MemoryContents, LoadedMemory), PageError> {
        if let (Some(contents), Some(known)) = (&self.contents, self.epoch)
            && known == epoch
        {
            return Ok((contents.clone(), LoadedMemory::Known));
        }
        self.pages.clear();
        self.refused.clear();
        let mut contents = MemoryContents::default();
        let mut loaded = LoadedMemory::Empty;
        for page in PageName::every() {
            let Some(map) = shown(page) else {
                continue;
            };
            let part = match unpack(page, &map) {
                Ok(part) => part,
                Err(newer @ PageError::Newer { .. }) => return Err(newer),
                Err(_) => {
                    loaded = LoadedMemory::Damaged;
                    continue;
                }
            };
            if loaded == LoadedMemory::Empty {
                loaded = LoadedMemory::Known;
            }
            let version = map.metadata.resource_version.unwrap_or_default();
            let stored = StoredPage {
                part: part.clone(),
                owned: OwnWrite::new(version, now),
                epoch: None,
            };
            self.pages.insert(page, stored);
            // The core page comes first.
            match page {
                PageName::Core => contents = part,
                PageName::Policies(_) => contents.add_policies(part),
            }
        }
        Ok((contents, loaded))
    }

    /// What has to be written so that the pages say what is remembered. The first write of a term to the core page is
    /// always made: it moves the version on, so that a stale leader's is refused.
    ///
    /// # Errors
    /// [`PageError::Serialize`] or [`PageError::Pack`].
    pub fn writes(
        &mut self,
        next: &MemoryContents,
        shown: impl Fn(PageName) -> Option<ConfigMap>,
        epoch: u64,
        now: Instant,
    ) -> Result<PageWrites, PageError> {
        let mut writes = Vec::new();
        for (page, part) in next.split() {
            let map = shown(page);
            let version = map
                .as_ref()
                .and_then(|map| map.metadata.resource_version.as_deref());
            let stored = self.pages.get_mut(&page);
            let is_idle = page != PageName::Core && !part.has_policies();
            if stored.is_none() && is_idle && map.is_none() {
                self.refused.remove(&page);
                continue;
            }
            let same = stored.as_ref().is_some_and(|stored| {
                stored.part == part && (page != PageName::Core || stored.epoch == Some(epoch))
            });
            match stored.map(|stored| stored.owned.look(version, now)) {
                Some(ShownVersion::Older) => return Ok(PageWrites::Wait),
                // What was refused is not wanted any more.
                Some(ShownVersion::Same) if same => {
                    self.refused.remove(&page);
                }
                _ if self.is_refused(page, &part, now) => continue,
                _ => writes.push((page, pack(page, &part, map.as_ref(), epoch)?)),
            }
        }
        Ok(PageWrites::These(writes))
    }

    fn is_refused(&self, page: PageName, part: &MemoryContents, now: Instant) -> bool {
        self.refused.get(&page).is_some_and(|refused| {
            refused.part == *part && now.saturating_duration_since(refused.at) < REFUSED_PAUSE
        })
    }

    /// A page was written.
    pub fn wrote(
        &mut self,
        page: PageName,
        part: MemoryContents,
        metadata: &ObjectMeta,
        epoch: u64,
        now: Instant,
    ) {
        let version = metadata.resource_version.clone().unwrap_or_default();
        self.refused.remove(&page);
        let stored = StoredPage {
            part,
            owned: OwnWrite::new(version, now),
            epoch: Some(epoch),
        };
        self.pages.insert(page, stored);
    }

    /// The API server refused a page.
    pub fn refused(&mut self, page: PageName, part: MemoryContents, why: String, now: Instant) {
        let refused = RefusedPage { part, at: now, why };
        self.refused.insert(page, refused);
    }

    /// Everything that could be written is: from now on this process knows what is remembered.
    pub fn keep(&mut self, next: MemoryContents, epoch: u64) {
        self.contents = Some(next);
        self.epoch = Some(epoch);
    }

    /// Pages that the API server refuses.
    #[must_use]
    pub fn unwritten(&self) -> Vec<UnwrittenPage> {
        let unwritten = self.refused.iter().map(|(page, refused)| UnwrittenPage {
            page: *page,
            namespaces: refused.part.memory.policies.keys().cloned().collect(),
            why: refused.why.clone(),
        });
        unwritten.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::time::{Duration, Instant};

    use flate2::{Compression, GzBuilder};
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::ConfigMap;
    use postern_compile::snapshot::RememberedPolicy;

    use super::{LoadedMemory, MemoryContents, MemoryStore, PageName, PageWrites};

    const EPOCH: u64 = 3;

    /// The ConfigMaps of an API server, each write with a new version.
    #[derive(Default)]
    struct Cluster {
        maps: BTreeMap<PageName, ConfigMap>,
        version: u64,
    }

    impl Cluster {
        fn shown(&self) -> impl Fn(PageName) -> Option<ConfigMap> {
            let maps = self.maps.clone();
            move |page| maps.get(&page).cloned()
        }

        /// The pages that were written; the API server refuses those of `full`.
        fn saves(
            &mut self,
            store: &mut MemoryStore,
            next: &MemoryContents,
            full: &[PageName],
            now: Instant,
        ) -> Vec<PageName> {
            let writes = match store.writes(next, self.shown(), EPOCH, now) {
                Ok(PageWrites::These(writes)) => writes,
                other => panic!("writes, not {other:?}"),
            };
            let mut written = Vec::new();
            for (page, mut map) in writes {
                let part = next.split().remove(&page).unwrap_or_default();
                if full.contains(&page) {
                    store.refused(page, part, "too large".to_owned(), now);
                    continue;
                }
                self.version += 1;
                map.metadata.resource_version = Some(self.version.to_string());
                store.wrote(page, part, &map.metadata, EPOCH, now);
                self.maps.insert(page, map);
                written.push(page);
            }
            store.keep(next.clone(), EPOCH);
            written
        }
    }

    fn contents(namespaces: &[&str]) -> MemoryContents {
        let mut contents = MemoryContents::default();
        contents.memory.deny.insert("d".parse().expect("a name"));
        contents.definition = Some("u1".to_owned());
        for namespace in namespaces {
            let policy = RememberedPolicy {
                name: "p".to_owned(),
                generation: 1,
                priority: 0,
                selector: None,
                accepted: None,
                claimed: None,
                exits: Vec::new(),
            };
            let known = [("u".parse().expect("a UID"), policy)].into();
            let namespace = namespace.parse().expect("a name");
            contents.memory.policies.insert(namespace, known);
        }
        contents
    }

    fn packed(json: &[u8]) -> ByteString {
        let mut encoder = GzBuilder::new().write(Vec::new(), Compression::default());
        encoder.write_all(json).expect("a buffer");
        ByteString(encoder.finish().expect("a buffer"))
    }

    fn page_of(namespace: &str) -> PageName {
        PageName::of_policies(&namespace.parse().expect("a name"))
    }

    #[test]
    fn what_is_written_is_what_the_next_leader_loads() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        let next = contents(&["a", "b", "c"]);
        cluster.saves(&mut MemoryStore::default(), &next, &[], now);
        let (found, loaded) = MemoryStore::default()
            .load(cluster.shown(), EPOCH + 1, now)
            .expect("a memory");
        assert_eq!((found, loaded), (next, LoadedMemory::Known));
    }

    #[test]
    fn a_change_of_one_namespace_writes_one_page() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        let mut store = MemoryStore::default();
        let mut next = contents(&["a", "b"]);
        cluster.saves(&mut store, &next, &[], now);
        assert_eq!(cluster.saves(&mut store, &next, &[], now), []);
        next.memory.policies.remove(&"b".parse().expect("a name"));
        assert_eq!(
            cluster.saves(&mut store, &next, &[], now),
            [page_of("b")],
            "an empty page stays, because nobody may delete it"
        );
    }

    #[test]
    fn a_new_leader_writes_the_core_page_once_and_no_page_that_says_the_same() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        let next = contents(&["a", "b"]);
        cluster.saves(&mut MemoryStore::default(), &next, &[], now);
        let mut store = MemoryStore::default();
        store.load(cluster.shown(), EPOCH, now).expect("a memory");
        let first = cluster.saves(&mut store, &next, &[], now);
        assert_eq!(first, [PageName::Core]);
        assert_eq!(cluster.saves(&mut store, &next, &[], now), []);
        cluster.maps.remove(&PageName::Core);
        assert_eq!(
            cluster.saves(&mut store, &next, &[], now),
            [PageName::Core],
            "somebody deleted it"
        );
    }

    #[test]
    fn a_page_that_is_refused_stops_no_other_page_and_is_tried_again_after_a_pause_or_a_change() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        let mut store = MemoryStore::default();
        let full = [page_of("a")];
        let mut next = contents(&["a", "b"]);
        assert_ne!(page_of("a"), page_of("b"));
        let written = cluster.saves(&mut store, &next, &full, now);
        assert_eq!(written, [PageName::Core, page_of("b")]);
        let unwritten = store.unwritten();
        assert_eq!(unwritten.len(), 1);
        assert_eq!(unwritten[0].namespaces, ["a".parse().expect("a name")]);
        assert_eq!(cluster.saves(&mut store, &next, &[], now), [], "the pause");
        let later = now + Duration::from_secs(31);
        assert_eq!(cluster.saves(&mut store, &next, &full, later), []);
        next.memory
            .policies
            .extend(contents(&["a2"]).memory.policies);
        let a = "a".parse().expect("a name");
        for known in next.memory.policies.get_mut(&a).expect("a").values_mut() {
            known.generation = 2;
        }
        let written = cluster.saves(&mut store, &next, &[], later);
        assert!(written.contains(&page_of("a")), "{written:?}");
        assert_eq!(store.unwritten(), []);
    }

    #[test]
    fn a_refused_page_is_forgotten_when_what_it_should_hold_is_what_it_holds() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        let mut store = MemoryStore::default();
        let stored = contents(&["a"]);
        cluster.saves(&mut store, &stored, &[], now);
        let mut refused = stored.clone();
        let a = "a".parse().expect("a name");
        for known in refused.memory.policies.get_mut(&a).expect("a").values_mut() {
            known.generation = 2;
        }
        cluster.saves(&mut store, &refused, &[page_of("a")], now);
        assert_eq!(store.unwritten().len(), 1);
        cluster.saves(&mut store, &stored, &[], now);
        assert_eq!(store.unwritten(), []);
    }

    #[test]
    fn a_damaged_page_is_said_to_be_damaged_and_the_others_are_known() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        cluster.saves(
            &mut MemoryStore::default(),
            &contents(&["a", "b"]),
            &[],
            now,
        );
        cluster
            .maps
            .get_mut(&page_of("a"))
            .expect("a page")
            .binary_data = None;
        let (found, loaded) = MemoryStore::default()
            .load(cluster.shown(), EPOCH, now)
            .expect("a memory");
        assert_eq!((found, loaded), (contents(&["b"]), LoadedMemory::Damaged));
        let nothing = |_| None;
        let empty = MemoryStore::default().load(nothing, 1, now);
        assert_eq!(empty.expect("no memory").1, LoadedMemory::Empty);
    }

    #[test]
    fn an_operator_that_is_older_than_a_page_refuses_to_decide() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        cluster.saves(&mut MemoryStore::default(), &contents(&["a"]), &[], now);
        let map = cluster.maps.get_mut(&PageName::Core).expect("a page");
        let newer = packed(br#"{"format":2,"memory":{"new":1}}"#);
        map.binary_data = Some([("memory.json.gz".to_owned(), newer)].into());
        let refused = MemoryStore::default().load(cluster.shown(), EPOCH, now);
        let message = refused.expect_err("it is newer").to_string();
        assert!(message.contains("install the newer operator"), "{message}");
    }

    #[test]
    fn a_leader_knows_what_it_wrote_whatever_becomes_of_the_config_maps() {
        let (mut cluster, now) = (Cluster::default(), Instant::now());
        let mut store = MemoryStore::default();
        let next = contents(&["a"]);
        cluster.saves(&mut store, &next, &[], now);
        let nothing = |_| None;
        let known = store.load(nothing, EPOCH, now).expect("known");
        assert_eq!(known, (next, LoadedMemory::Known));
        let other_term = store.load(nothing, EPOCH + 1, now).expect("nothing");
        assert_eq!(other_term.1, LoadedMemory::Empty);
    }
}
