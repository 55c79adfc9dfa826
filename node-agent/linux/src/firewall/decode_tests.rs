//! Listings of nft and what they say. `tests/fixtures/tables.nft` has the commands.

use std::collections::BTreeSet;

use postern_host_testing::fuzz::{Corpus, InputForm};
use postern_plan::host::{Family, MacAddress};
use postern_plan::ruleset::{
    Atom, Base, BaseKind, Data, Element, Hook, KeyType, Otherwise, Set, Target, ValueType,
};
use serde_json::json;

use super::*;

const INET: &[u8] = include_bytes!("../../tests/fixtures/nft-1.0.6-inet.json");
const BRIDGE: &[u8] = include_bytes!("../../tests/fixtures/nft-1.0.6-bridge.json");
/// `nft add table inet postern '{ flags dormant; }'; nft -j list table inet postern`: it ends after the word `flags`.
const DORMANT: &[u8] = include_bytes!("../../tests/fixtures/nft-1.0.6-dormant.json");

/// Listings of the versions in Debian 13 and in what comes after it.
const LATER: [(&str, &[u8], &[u8]); 2] = [
    (
        "1.1.3",
        include_bytes!("../../tests/fixtures/nft-1.1.3-inet.json"),
        include_bytes!("../../tests/fixtures/nft-1.1.3-bridge.json"),
    ),
    (
        "1.1.7",
        include_bytes!("../../tests/fixtures/nft-1.1.7-inet.json"),
        include_bytes!("../../tests/fixtures/nft-1.1.7-bridge.json"),
    ),
];

fn read(listing: &[u8]) -> ObservedTable {
    table(listing).unwrap().unwrap()
}

fn set(table: &ObservedTable, name: &str) -> BTreeSet<Element> {
    table.sets.get(name).unwrap().elements.clone()
}

fn prefix(text: &str) -> Element {
    Element::key([Atom::prefix(text.parse().unwrap())])
}

#[test]
fn later_versions_say_the_same_of_sets_chains_and_counters() {
    for (version, inet, bridge) in LATER {
        for (later, first) in [(inet, INET), (bridge, BRIDGE)] {
            let (later, first) = (read(later), read(first));
            assert_eq!(later.sets, first.sets, "{version}");
            assert_eq!(later.counters, first.counters, "{version}");
            let bases = |table: &ObservedTable| -> Vec<_> {
                let chains = table.chains.iter();
                chains
                    .map(|(name, chain)| (name.clone(), chain.base))
                    .collect()
            };
            assert_eq!(bases(&later), bases(&first), "{version}");
        }
    }
}

#[test]
fn a_set_has_the_type_that_it_was_declared_with() {
    let types = |table: &ObservedTable, name: &str| table.sets[name].set_type.clone().unwrap();
    let (inet, bridge) = (read(INET), read(BRIDGE));
    let raw = [KeyType::IfName, KeyType::Ether, KeyType::NeighbourTarget];
    assert_eq!(types(&bridge, "bindnd6"), Set::of(raw).set_type);
    let intervals = Set::intervals(KeyType::Ipv4);
    assert_eq!(types(&inet, "inside4"), intervals.set_type);
    assert_eq!(
        types(&inet, "lease"),
        Set::expiring(KeyType::Family).set_type
    );
    let map = Set::map([KeyType::Ipv4], ValueType::Verdict);
    assert_eq!(types(&inet, "from4"), map.set_type);
    // A flag by itself, as 1.1.4 to 1.1.6 give it, is the flag; a type, a flag or two flags that we never use are none of ours.
    let listed = |body: Value| {
        let set = json!({"set": body});
        let listing = json!({"nftables": [set]}).to_string();
        read(listing.as_bytes()).sets["s"].set_type.clone()
    };
    let single = json!({"name": "s", "type": "ipv4_addr", "flags": "interval"});
    assert_eq!(listed(single), Some(intervals.set_type));
    for other in [
        json!({"name": "s", "type": "mark"}),
        json!({"name": "s", "type": "ipv4_addr", "flags": ["constant"]}),
        json!({"name": "s", "type": "ipv4_addr", "flags": ["interval", "timeout"]}),
        json!({"name": "s", "type": "ipv4_addr", "map": "mark"}),
        json!({"name": "s", "type": {"typeof": {"meta": {"key": "mark"}}}}),
    ] {
        assert_eq!(listed(other.clone()), None, "{other}");
    }
}

#[test]
fn intervals_are_prefixes_ranges_and_addresses() {
    let range = Element::key([Atom::Range(
        "10.0.2.2".parse().unwrap(),
        "10.0.2.9".parse().unwrap(),
    )]);
    let wanted = [
        prefix("10.0.0.0/24"),
        prefix("10.0.1.0/24"),
        prefix("10.0.2.1/32"),
        range,
    ];
    assert_eq!(set(&read(INET), "inside4"), wanted.into());
    assert_eq!(
        set(&read(INET), "inside6"),
        [prefix("fd00::/64"), prefix("fd00:0:0:1::/64")].into()
    );
}

#[test]
fn wildcards_keep_their_star() {
    let names =
        ["cali*", "cbr0", "cni0", "veth*"].map(|name| Element::key([Atom::Name(name.to_owned())]));
    assert_eq!(set(&read(INET), "podlinks"), names.into());
}

#[test]
fn concatenations_have_one_atom_a_part() {
    let port = [
        Atom::v4([10, 0, 0, 1].into()),
        Atom::Protocol("tcp".to_owned()),
        Atom::Port(6443),
    ];
    assert_eq!(set(&read(INET), "api4"), [Element::key(port)].into());
    let mac = Atom::Mac(MacAddress([0x0a, 0x58, 0x0a, 0xf4, 1, 2]));
    let bound = [
        Atom::Name("veth1".to_owned()),
        mac,
        Atom::v4([10, 0, 0, 1].into()),
    ];
    assert_eq!(set(&read(BRIDGE), "bind4"), [Element::key(bound)].into());
}

#[test]
fn numbers_of_128_bits_are_exact_whether_nft_gives_a_number_or_text() {
    let numbers = [1, 0xfd00_0000_0000_0000_0000_0000_0000_0001]
        .map(|number| Element::key([Atom::Number(number)]));
    assert_eq!(set(&read(BRIDGE), "nd6"), numbers.into());
}

#[test]
fn the_lease_is_its_family_however_long_it_lasts() {
    assert_eq!(
        set(&read(INET), "lease"),
        [Element::key([Atom::Family(Family::V4)])].into()
    );
}

#[test]
fn maps_lead_to_verdicts_and_addresses() {
    let entry = |last: u8, target| {
        Element::entry([Atom::v4([10, 244, 1, last].into())], Data::Verdict(target))
    };
    let wanted = [
        entry(2, Target::Goto("to_eu".to_owned())),
        entry(3, Target::Accept),
        entry(4, Target::Drop),
    ];
    assert_eq!(set(&read(INET), "from4"), wanted.into());
    let address = Data::Address([203, 0, 113, 1].into());
    assert_eq!(
        set(&read(INET), "le4"),
        [Element::entry([Atom::v4([10, 244, 1, 2].into())], address)].into()
    );
}

#[test]
fn base_chains_have_their_hook_and_others_have_none() {
    let table = read(INET);
    let guard = Base {
        kind: BaseKind::Filter,
        hook: Hook::Forward,
        priority: -5,
        otherwise: Otherwise::Accept,
    };
    assert_eq!(table.chains.get("guard").unwrap().base, Some(guard));
    assert_eq!(table.chains.get("to_eu").unwrap().base, None);
}

#[test]
fn rules_keep_their_order_and_their_comment() {
    let table = read(INET);
    let comments: Vec<_> = table
        .chains
        .get("guard")
        .unwrap()
        .rules
        .iter()
        .map(|rule| rule.comment.clone().unwrap())
        .collect();
    assert_eq!(comments, ["abc", "abd", "xx", "z", "z"]);
}

#[test]
fn expressions_compare_whatever_an_anonymous_counter_has_counted() {
    let rule = |packets: u64| {
        let counter = json!({"counter": {"packets": packets, "bytes": 8}});
        let rule =
            json!({"rule": {"chain": "c", "handle": packets, "expr": [counter, {"accept": null}]}});
        read(json!({"nftables": [rule]}).to_string().as_bytes())
    };
    assert_eq!(rule(1), rule(7));
}

#[test]
fn expressions_compare_in_whatever_order_an_anonymous_set_is_listed() {
    let rule = |types: [&str; 2]| {
        let field = json!({"payload": {"protocol": "icmpv6", "field": "type"}});
        let matched = json!({"match": {"op": "==", "left": field, "right": {"set": types}}});
        let rule = json!({"rule": {"chain": "c", "handle": 1, "expr": [matched]}});
        read(json!({"nftables": [rule]}).to_string().as_bytes())
    };
    let one = rule(["nd-router-solicit", "nd-router-advert"]);
    assert_eq!(one, rule(["nd-router-advert", "nd-router-solicit"]));
    assert_ne!(one, rule(["nd-router-advert", "echo-request"]));
}

/// `nft add counter inet postern hold '{ packets 5000000000 bytes 6000000000000 }'`.
#[test]
fn counters_are_64_bits_wide() {
    let listing =
        json!({"nftables": [{"counter": {"name": "hold", "packets": 5_000_000_000_u64}}]});
    assert_eq!(
        read(listing.to_string().as_bytes()).counters.get("hold"),
        Some(&5_000_000_000)
    );
}

#[test]
fn a_dormant_table_is_as_good_as_none() {
    assert_eq!(table(DORMANT), Ok(None));
    let later = json!({"nftables": [{"table": {"family": "inet", "name": "postern", "flags": ["dormant"]}}]});
    assert_eq!(table(later.to_string().as_bytes()), Ok(None));
}

#[test]
fn a_listing_that_is_no_json_is_an_error_and_no_empty_table() {
    assert!(table(b"").is_err());
    assert!(table(b"{\"nftables\": [").is_err());
    assert!(table(b"{}").is_err());
}

#[test]
fn an_element_of_a_kind_that_is_not_ours_differs_from_everything_of_ours() {
    let listing =
        json!({"nftables": [{"set": {"name": "x", "type": "mark", "elem": [{"new": 1}]}}]});
    let table = read(listing.to_string().as_bytes());
    assert_eq!(
        set(&table, "x"),
        [Element::key([Atom::Name("{\"new\":1}".to_owned())])].into()
    );
}

#[test]
fn no_listing_breaks_the_reader() {
    let mut files = vec![INET.to_vec(), BRIDGE.to_vec(), DORMANT.to_vec()];
    files.extend(
        LATER
            .iter()
            .flat_map(|(_, inet, bridge)| [inet.to_vec(), bridge.to_vec()]),
    );
    Corpus::of(files).feed(InputForm::Json, |listing| drop(table(listing)));
}
