//! Random bodies and packets. A seed repeats them.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postern_intent::body::{
    Access, AdminAction, AdminPolicy, AdminRule, BlockedReason, Body, Class, EgressPath, Rule,
    RulePortRange, RuleProtocol, Scope, TermsAudit, TermsDnsMode, TermsEnforcement,
    TermsEstablishedFlows, TermsLimits, TermsReplies,
};
use postern_intent::{Address, Prefix};
use postern_plan::Desired;
use postern_plan::desired::names::{flows_set, granted_set, kept_set};
use postern_plan::evaluate::{
    Conntrack, CtDirection, CtState, Grants, KeptFlows, Packet, Transport,
};
use postern_plan::host::Family;
use postern_plan::ruleset::LimitMeasure;

use crate::fixture::{OwnedInputs, client, gateway, pod, scope_id, word};

/// The seed of this run: the one that `POSTERN_SEED` names, else another one in every run. It is printed, so that a failed
/// run can be tried again.
pub fn seed() -> u64 {
    let given = std::env::var("POSTERN_SEED").ok();
    let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        since.subsec_nanos().into()
    });
    println!("POSTERN_SEED={seed}");
    seed
}

/// A generator of numbers (SplitMix64, Steele et al. 2014), so that a seed is all that a failure needs.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn text(&mut self, all: &[&'static str]) -> &'static str {
        all[self.below(all.len())]
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Destinations of every kind that the rules tell apart, one inside each range and beside its ends.
const DESTINATIONS: [&str; 42] = [
    "203.0.113.7",
    "198.51.100.9",
    "192.0.2.77",
    "8.8.8.8",
    "10.0.0.1",
    "10.99.3.4",
    "9.255.255.255",
    "11.0.0.0",
    "172.16.0.1",
    "172.32.0.1",
    "192.168.77.1",
    "100.64.0.9",
    "100.100.100.200",
    "127.0.0.1",
    "169.254.169.254",
    "169.254.20.10",
    "168.63.129.16",
    "0.0.0.1",
    "224.0.0.251",
    "255.255.255.255",
    "10.244.1.2",
    "10.244.9.9",
    "10.96.0.10",
    "192.168.10.21",
    "192.168.10.11",
    "203.0.113.29",
    "198.18.0.1",
    "2001:db8:77::1",
    "2620:fe::9",
    "fd00:77::1",
    "fc00::1",
    "fe80::1",
    "ff02::fb",
    "::1",
    "::ffff:10.0.0.1",
    "fd00:ec2::254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a63:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a63:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
];
const MORE: [&str; 5] = [
    "2002:808:808::1",
    "fd00:10:244:9::9",
    "fd00:10:96::10",
    "2001:db8:10::21",
    "fd64::1",
];
const PREFIXES: [&str; 12] = [
    "203.0.113.0/24",
    "198.51.100.8/29",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.99.0.0/16",
    "192.168.77.0/24",
    "8.8.8.8/32",
    "2001:db8:77::/48",
    "::/0",
    "fd00:77::/64",
    "2620:fe::/48",
    "64:ff9b::/96",
];
const PORTS: [u16; 11] = [22, 25, 79, 80, 443, 444, 853, 8080, 8443, 30_080, 51_850];

/// Names of interfaces that a packet may leave by.
pub const OUT: [&str; 7] = [
    "eth0", "pst-c-eu", "pst-c-us", "cni0", "veth9", "wlan0", "pst-s-eu",
];

/// The selected pod, a released one, a blocked one, and one that nobody lists.
pub const SELECTED: [&str; 2] = ["10.244.1.2", "fd00:10:244:1::2"];
pub const RELEASED: [&str; 2] = ["10.244.1.3", "fd00:10:244:1::3"];
pub const BLOCKED: [&str; 2] = ["10.244.1.4", "fd00:10:244:1::4"];
pub const UNLISTED: [&str; 2] = ["10.244.1.5", "fd00:10:244:1::5"];

/// A node with what its ruleset is made from.
#[derive(Debug)]
pub struct Scene {
    pub world: OwnedInputs,
    pub desired: Desired,
    pub leases: Vec<Family>,
    /// What answers for names granted.
    pub grants: Grants,
    /// Sets in which each packet's connection stands.
    pub kept: KeptFlows,
}

impl Scene {
    /// A client node, or the exit's own gateway, with a policy by chance.
    pub fn new(dice: &mut Dice) -> Self {
        let mut body = if dice.one_in(3) {
            let egress: &[&str] = match dice.below(3) {
                0 => &[],
                1 => &["203.0.113.10", "2001:db8:99::10"],
                _ => &["203.0.113.10"],
            };
            gateway(egress)
        } else {
            client()
        };
        edit(dice, &mut body);
        let grants = grants(dice, &body.firewall[0]);
        let world = OwnedInputs::of(Some(body));
        let desired = Desired::from_inputs(&world.inputs());
        let kept = match dice.below(2) {
            0 => KeptFlows::new(),
            _ => [flows_set(&scope_id())].into(),
        };
        let leases = match dice.below(6) {
            0 => Vec::new(),
            1 => vec![Family::V6],
            _ => Family::BOTH.to_vec(),
        };
        Self {
            world,
            desired,
            leases,
            grants,
            kept,
        }
    }

    pub fn body(&self) -> &Body {
        self.world.body.as_ref().unwrap()
    }
}

fn edit(dice: &mut Dice, body: &mut Body) {
    body.pods.push(pod(
        "x",
        Class::Blocked {
            reason: BlockedReason::NoExit,
        },
        &BLOCKED,
    ));
    let scope = &mut body.firewall[0];
    let access = |dice: &mut Dice| *dice.of(&[Access::Allow, Access::Deny]);
    scope.terms.default_action = access(dice);
    scope.terms.lan = access(dice);
    scope.terms.replies = *dice.of(&[TermsReplies::Services, TermsReplies::None]);
    if dice.one_in(3) {
        let exceptions = ["169.254.169.254/32", "100.100.100.200/32", "fe80::/64"];
        scope.terms.special_use_exceptions = vec![word(dice.text(&exceptions))];
    }
    scope.terms.limits = limits(dice);
    if dice.one_in(8) {
        scope.way = EgressPath::Blocked {
            reason: BlockedReason::NoExit,
        };
    }
    if body.nat.is_empty() && dice.one_in(6) {
        scope.way = EgressPath::NodeUplink;
    }
    if dice.one_in(3) {
        scope.terms.enforcement = TermsEnforcement::Observe;
    }
    scope.terms.audit = *dice.of(&[TermsAudit::None, TermsAudit::Denied, TermsAudit::All]);
    if dice.one_in(3) {
        scope.terms.established_flows = TermsEstablishedFlows::Keep;
    }
    scope.terms.rules = (0..dice.below(5))
        .map(|number| rule(dice, number))
        .collect();
    if dice.one_in(3) {
        scope.terms.admin = (0..1 + dice.below(2))
            .map(|place| administrators(dice, place))
            .collect();
    }
    let names = scope.terms.rules.iter().any(|rule| !rule.names.is_empty());
    scope.terms.dns.mode = match names || dice.one_in(2) {
        true => TermsDnsMode::Filter,
        false => TermsDnsMode::Forward,
    };
    for served in &mut body.nat {
        served.lan = access(dice);
        if dice.one_in(3) {
            served.routes = vec![word("203.0.113.0/24"), word("169.254.169.254/32")];
        }
    }
}

/// Half of the policies have no limit. A limit is one that no test reaches, or one that a few packets reach: then it is the only
/// one, so that a packet which another limit drops cannot have used it up.
fn limits(dice: &mut Dice) -> TermsLimits {
    let (none, few) = (TermsLimits::default(), 1 + dice.number() % 4);
    match dice.below(8) {
        0 => TermsLimits {
            connections: Some(1_000_000),
            new_connections_per_second: Some(1_000_000),
            packets_per_second: Some(1_000_000),
            bytes_per_second: Some(TermsLimits::MOST_BYTES),
        },
        1 => TermsLimits {
            connections: u32::try_from(few).ok(),
            ..none
        },
        2 => TermsLimits {
            new_connections_per_second: u32::try_from(few).ok(),
            ..none
        },
        3 => TermsLimits {
            packets_per_second: Some(few),
            ..none
        },
        4 => TermsLimits {
            bytes_per_second: Some(few * 60),
            ..none
        },
        _ => none,
    }
}

fn administrators(dice: &mut Dice, place: usize) -> AdminPolicy {
    let actions = [AdminAction::Allow, AdminAction::Deny, AdminAction::Pass];
    let rules = (0..dice.below(4)).map(|number| {
        let Rule {
            name, to, ports, ..
        } = rule(dice, number);
        AdminRule {
            name,
            action: *dice.of(&actions),
            to,
            ports,
        }
    });
    AdminPolicy {
        name: format!("tier-{place}"),
        generation: 1,
        priority: 0,
        rules: rules.collect(),
    }
}

fn rule(dice: &mut Dice, number: usize) -> Rule {
    let to: Vec<Prefix> = (0..dice.below(4))
        .map(|_| word(dice.text(&PREFIXES)))
        .collect();
    let ports = (0..dice.below(3)).map(|_| ports(dice)).collect();
    let names = match dice.below(3) {
        0 => vec![word("*.example.org")],
        _ => Vec::new(),
    };
    Rule {
        name: number.to_string(),
        action: match names.is_empty() {
            true => *dice.of(&[Access::Allow, Access::Deny]),
            false => Access::Allow,
        },
        to,
        names,
        ports,
    }
}

/// What the kernel holds in the sets of grants of a scope: any address, also one that no answer may bring.
fn grants(dice: &mut Dice, scope: &Scope) -> Grants {
    let mut grants = Grants::new();
    let rules = scope.terms.rules.iter();
    for rule in rules.filter(|rule| !rule.names.is_empty()) {
        for family in Family::BOTH {
            for set in [granted_set, kept_set] {
                let some = (0..dice.below(12)).map(|_| destination(dice));
                let of_family = some.filter(|address| Family::of(address) == family);
                grants.insert(set(&scope.id, rule, family), of_family.collect());
            }
        }
    }
    grants
}

fn ports(dice: &mut Dice) -> RulePortRange {
    let protocols = [
        RuleProtocol::Tcp,
        RuleProtocol::Udp,
        RuleProtocol::Sctp,
        RuleProtocol::Icmp,
    ];
    let protocol = *dice.of(&protocols);
    let (one, other) = (*dice.of(&PORTS), *dice.of(&PORTS));
    let (from, to) = match dice.below(3) {
        0 => (0, u16::MAX),
        1 => (one, one),
        _ => (one.min(other), one.max(other)),
    };
    let (from, to) = if protocol == RuleProtocol::Icmp {
        (0, u16::MAX)
    } else {
        (from, to)
    };
    RulePortRange { protocol, from, to }
}

fn destination(dice: &mut Dice) -> Address {
    if dice.one_in(8) {
        // Anywhere, so that nobody relies on the list.
        return if dice.one_in(2) {
            IpAddr::V4(Ipv4Addr::from(u32::try_from(dice.number() >> 32).unwrap()))
        } else {
            let wide = u128::from(dice.number()) << 64 | u128::from(dice.number());
            IpAddr::V6(Ipv6Addr::from(wide))
        };
    }
    let all = [&DESTINATIONS[..], &MORE].concat();
    word(dice.text(&all))
}

fn transport(dice: &mut Dice) -> Transport {
    let port = |dice: &mut Dice| match dice.below(8) {
        0 => 53,
        1 => u16::try_from(dice.number() % 65_536).unwrap(),
        _ => *dice.of(&PORTS),
    };
    match dice.below(12) {
        0..=3 => Transport::Tcp {
            sport: 40_000,
            dport: port(dice),
            syn: dice.one_in(2),
        },
        4..=7 => Transport::Udp {
            sport: if dice.one_in(9) { 68 } else { 40_000 },
            dport: port(dice),
        },
        8 => Transport::Sctp { dport: port(dice) },
        9 | 10 => Transport::Icmp(dice.text(&["echo-request", "nd-neighbor-solicit"])),
        _ => Transport::Other(*dice.of(&[4, 41, 47, 50, 89])),
    }
}

/// A packet that one of these pods sends, on the interface behind which pods are. Conntrack may say anything of it, and the pod
/// may have used up any limit.
pub fn packet(dice: &mut Dice, sources: &[&str]) -> Packet {
    let destination = destination(dice);
    let of_family: Vec<Address> = sources
        .iter()
        .map(|text| word::<Address>(text))
        .filter(|source| Family::of(source) == Family::of(&destination))
        .collect();
    let source = *dice.of(&of_family);
    let mut packet = Packet::new(source, destination, transport(dice));
    packet.iif = "cni0".to_owned();
    packet.oif = dice.text(&OUT).to_owned();
    packet.hop_limit = if dice.one_in(10) { 255 } else { 63 };
    packet.mark = u32::try_from(dice.number() % 256).unwrap();
    if dice.one_in(4) {
        let each = LimitMeasure::EACH.into_iter();
        packet.over = each.filter(|_| dice.one_in(2)).collect();
    }
    if dice.one_in(3) {
        packet.conntrack = conntrack(dice, &packet);
    }
    packet
}

fn conntrack(dice: &mut Dice, packet: &Packet) -> Conntrack {
    let states = [
        CtState::New,
        CtState::Established,
        CtState::Related,
        CtState::Invalid,
        CtState::Untracked,
    ];
    let addresses = [
        "192.168.10.11",
        "192.168.10.21",
        "203.0.113.7",
        "10.96.0.10",
    ];
    let original = match packet.family() {
        Family::V4 => word(dice.text(&addresses)),
        Family::V6 => word(dice.text(&["2001:db8:10::11", "2001:db8:10::21", "2620:fe::9"])),
    };
    Conntrack {
        state: *dice.of(&states),
        direction: *dice.of(&[CtDirection::Original, CtDirection::Reply]),
        dnat: dice.one_in(2),
        confirmed: dice.one_in(2),
        original_source: packet.destination,
        original_destination: original,
    }
}
