//! A ruleset with every kind of set, of chain and of element.

use std::collections::{BTreeMap, BTreeSet};

use postern_plan::host::{Family, MacAddress};
use postern_plan::ruleset::rule::{alone, goto, jump, together};
use postern_plan::ruleset::{
    Atom, Base, BaseKind, Chain, Counter, Data, Element, FirewallRule, Hook, KeyType, MatchField,
    Otherwise, Ruleset, Set, Table, Target, ValueType,
};

const POD: [u8; 4] = [10, 244, 1, 7];

pub(super) fn pod(last: u8) -> Atom {
    Atom::v4([10, 244, 1, last].into())
}

pub(super) fn to(chain: &str) -> Data {
    Data::Verdict(Target::Goto(chain.to_owned()))
}

fn sets() -> BTreeMap<String, Set> {
    let prefixes = [
        "10.244.0.0/16",
        "10.244.9.9/32",
        "192.0.2.0/24",
        "192.0.3.0/24",
    ];
    let prefixes = prefixes
        .iter()
        .filter_map(|text| text.parse().ok())
        .map(Atom::prefix);
    let range = Atom::Range([198, 51, 100, 4].into(), [198, 51, 100, 9].into());
    let port = vec![
        Atom::v4([192, 0, 2, 1].into()),
        Atom::Protocol("tcp".to_owned()),
        Atom::Port(6443),
    ];
    let entries = [
        Element::entry([pod(7)], to("pol_eu")),
        Element::entry([pod(8)], Data::Verdict(Target::Accept)),
        Element::entry([pod(9)], Data::Verdict(Target::Drop)),
    ];
    let names = ["cni0", "veth*"].map(|name| Element::key([Atom::Name(name.to_owned())]));
    [
        (
            "from4",
            Set::map([KeyType::Ipv4], ValueType::Verdict).with(entries),
        ),
        (
            "inside4",
            Set::intervals(KeyType::Ipv4).with(
                prefixes
                    .skip(1)
                    .chain([range])
                    .map(|atom| Element::key([atom])),
            ),
        ),
        (
            "api4",
            Set::of([KeyType::Ipv4, KeyType::Protocol, KeyType::Port]).with([Element::key(port)]),
        ),
        ("podlinks", Set::intervals(KeyType::IfName).with(names)),
        ("lease", Set::expiring(KeyType::Family)),
        (
            "egress4",
            Set::map([KeyType::IfName], ValueType::Ipv4).with([Element::entry(
                [Atom::Name("pst-s-eu".to_owned())],
                Data::Address([203, 0, 113, 10].into()),
            )]),
        ),
    ]
    .map(|(name, set)| (name.to_owned(), set))
    .into()
}

fn inet() -> Table {
    let guard = Base {
        kind: BaseKind::Filter,
        hook: Hook::Forward,
        priority: -5,
        otherwise: Otherwise::Accept,
    };
    let translate = Base {
        kind: BaseKind::Nat,
        hook: Hook::Postrouting,
        priority: 90,
        otherwise: Otherwise::Accept,
    };
    let guard_rules = vec![
        FirewallRule::to(Target::SaddrMap(Family::V4, "from4".to_owned())),
        FirewallRule::to(jump("pol_eu")).when(MatchField::Iif.within("podlinks")),
        FirewallRule::to(Target::Drop)
            .when(MatchField::NfProto.outside("lease"))
            .counted(Counter("hold")),
        // The kernel lists an anonymous set in another order each time that the rule is written.
        FirewallRule::to(Target::Accept).when(MatchField::Icmp6Type.is(
            "{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }",
        )),
        FirewallRule::to(Target::Accept).when(together(
            [
                MatchField::Daddr(Family::V4),
                MatchField::L4Proto,
                MatchField::Dport,
            ],
            "api4",
        )),
    ];
    let chains = [
        (
            "guard",
            Chain {
                base: Some(guard),
                rules: guard_rules,
                ..Chain::default()
            },
        ),
        (
            "pol_eu",
            Chain {
                rules: vec![
                    FirewallRule::to(Target::Count("observed_eu".to_owned())),
                    FirewallRule::to(Target::Continue).when(alone(MatchField::OverRecords)),
                    FirewallRule::to(Target::Record("record_eu".to_owned())),
                    FirewallRule::to(goto("refuse")).when(MatchField::Oif.not_named("pst-c-eu")),
                ],
                ..Chain::default()
            },
        ),
        (
            "refuse",
            Chain {
                rules: vec![FirewallRule::to(Target::RejectProhibited).counted(Counter("hold"))],
                ..Chain::default()
            },
        ),
        (
            "translate",
            Chain {
                base: Some(translate),
                rules: vec![
                    FirewallRule::to(Target::Masquerade).when(MatchField::Oif.named("pst-c-*")),
                ],
                ..Chain::default()
            },
        ),
    ];
    Table {
        counters: BTreeSet::from([Counter("hold")]),
        rule_counters: BTreeSet::from(["observed_eu".to_owned()]),
        sets: sets(),
        chains: chains.map(|(name, chain)| (name.to_owned(), chain)).into(),
    }
}

fn bridge() -> Table {
    let mac = MacAddress([0x0a, 0x58, 0x0a, 0xf4, 1, 7]);
    let name = || Atom::Name("veth7".to_owned());
    let target = Atom::Number(0xfd00_0010_0244_0001_0000_0000_0000_0007);
    let bind4 = Set::of([KeyType::IfName, KeyType::Ether, KeyType::Ipv4]).with([Element::key([
        name(),
        Atom::Mac(mac),
        Atom::v4(POD.into()),
    ])]);
    let bind6 = Set::of([KeyType::IfName, KeyType::Ether, KeyType::NeighbourTarget])
        .with([Element::key([name(), Atom::Mac(mac), target])]);
    let base = Base {
        kind: BaseKind::Filter,
        hook: Hook::Prerouting,
        priority: -300,
        otherwise: Otherwise::Accept,
    };
    let rule = FirewallRule::to(Target::Drop).when(MatchField::ArpSaddrIp.is("0.0.0.0"));
    Table {
        counters: BTreeSet::new(),
        rule_counters: BTreeSet::new(),
        sets: [("bind4", bind4), ("bindnd6", bind6)]
            .map(|(name, set)| (name.to_owned(), set))
            .into(),
        chains: BTreeMap::from([(
            "origin".to_owned(),
            Chain {
                base: Some(base),
                rules: vec![rule],
                ..Chain::default()
            },
        )]),
    }
}

fn arp() -> Table {
    let base = Base {
        kind: BaseKind::Filter,
        hook: Hook::Input,
        priority: -300,
        otherwise: Otherwise::Accept,
    };
    let asked = Counter("asked");
    let rule = FirewallRule::to(Target::Drop)
        .counted(asked)
        .when(MatchField::ArpDaddrIp.within("tunaddr4"))
        .when(MatchField::ArpOperation.is("request"));
    let own = Set::of([KeyType::Ipv4]).with([Element::key([Atom::v4([198, 18, 0, 2].into())])]);
    Table {
        counters: [asked].into(),
        rule_counters: BTreeSet::new(),
        sets: BTreeMap::from([("tunaddr4".to_owned(), own)]),
        chains: BTreeMap::from([(
            "asked".to_owned(),
            Chain {
                base: Some(base),
                rules: vec![rule],
                ..Chain::default()
            },
        )]),
    }
}

/// A ruleset with every kind of set, of chain and of element.
#[must_use]
pub fn ruleset() -> Ruleset {
    Ruleset {
        inet: inet(),
        bridge: bridge(),
        arp: arp(),
    }
}
