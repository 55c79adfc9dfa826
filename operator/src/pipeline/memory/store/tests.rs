//! Pages of the memory through the terms of leaders, on an API server that is a map.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::{Compression, GzBuilder};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use postern_compile::snapshot::{RememberedPolicy, RememberedUplink};

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
            uplink: RememberedUplink::Unused,
        };
        let known = [("u".parse().expect("a UID"), policy)].into();
        let namespace = namespace.parse().expect("a name");
        contents.memory.policies.insert(namespace, known);
    }
    contents
}

/// The next generation of a namespace's policies.
fn update(contents: &mut MemoryContents, namespace: &str) {
    let namespace = namespace.parse().expect("a name");
    let policies = contents.memory.policies.get_mut(&namespace);
    for known in policies.expect("policies").values_mut() {
        known.generation += 1;
    }
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
    assert!(page_of("a") < page_of("b"), "the refused one comes first");
    let written = cluster.saves(&mut store, &next, &full, now);
    assert_eq!(written, [PageName::Core, page_of("b")]);
    let unwritten = store.unwritten();
    assert_eq!(unwritten.len(), 1);
    assert_eq!(unwritten[0].namespaces, ["a".parse().expect("a name")]);
    update(&mut next, "b");
    let written = cluster.saves(&mut store, &next, &[], now);
    assert_eq!(written, [page_of("b")], "the pause is of one page");
    let later = now + Duration::from_secs(31);
    assert_eq!(cluster.saves(&mut store, &next, &[], later), full);
    assert_eq!(store.unwritten(), []);
    update(&mut next, "a");
    assert_eq!(cluster.saves(&mut store, &next, &full, later), []);
    assert_eq!(cluster.saves(&mut store, &next, &[], later), []);
    update(&mut next, "a");
    assert_eq!(cluster.saves(&mut store, &next, &[], later), full);
    assert_eq!(store.unwritten(), []);
}

#[test]
fn a_refused_page_is_forgotten_when_what_it_should_hold_is_what_it_holds() {
    let (mut cluster, now) = (Cluster::default(), Instant::now());
    let mut store = MemoryStore::default();
    let stored = contents(&["a"]);
    cluster.saves(&mut store, &stored, &[], now);
    let mut refused = stored.clone();
    update(&mut refused, "a");
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
