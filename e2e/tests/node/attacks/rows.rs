//! The rows of the table, by what they are about.

use std::net::IpAddr;

use postern_e2e::lab::Exec;

use super::{Attack, Attacks, CARRIERS, Counted, NODE, Through};
use crate::holes::{both, nobody};
use crate::terms::GATEWAY;
use postern_e2e::lab::traffic::names::name_of;

/// An alias in the allowed zone whose target is outside of it and has this address.
fn alias_of(address: IpAddr) -> String {
    format!("c-{}", name_of(address))
}

pub(super) fn of_names() -> Vec<Attack> {
    let letters = "m".repeat(63);
    let exfiltrated = format!("*.{letters}.{letters}.{letters}.exfil.world.test");
    let questions = Counted::Questions("resolver-name");
    vec![
        Attack::name("another resolver by UDP", "*.secret.world.test", &[]),
        Attack::name("another resolver by TCP", "*.secret.world.test", &["+tcp"]),
        Attack::name("mixed case", "*.SeCrEt.wOrLd.TeSt", &[]),
        Attack::name(
            "an allowed name within another",
            "*.A.ALLOWED.world.test.evil.net",
            &[],
        ),
        Attack::name(
            "IDN that looks allowed",
            "*.www.xn--llowed-8fg.world.test",
            &[],
        ),
        Attack::name("long labels", &exfiltrated, &[]),
        Attack::name("long labels by TXT", &exfiltrated, &["TXT"]),
        Attack::name(
            "the target of an alias",
            "*.a-203-0-113-9.elsewhere.world.test",
            &[],
        ),
        Attack::name("DoH by name", "dns.google", &[]).counted(questions),
        Attack::rebinding(
            "an alias out of the zone",
            &["10.1.2.3", "fd00::1"],
            alias_of,
        ),
        Attack::rebinding("rebinding to metadata", &METADATA, name_of),
        Attack::rebinding("rebinding to loopback", &LOOPBACK, name_of),
        Attack::rebinding("rebinding to pods", &PODS, name_of),
        Attack::rebinding("rebinding to services", &SERVICES, name_of),
        Attack::rebinding("rebinding to nodes", &NODES, name_of),
    ]
}

/// Each kind of address in its families, and embedded: mapped, compatible, translated, NAT64, NAT64 of the network's own, 6to4 and Teredo.
const METADATA: [&str; 9] = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
];
const LOOPBACK: [&str; 10] = [
    "127.0.0.1",
    "0.0.0.0",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::127.0.0.1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
];
const PODS: [&str; 9] = [
    "10.244.1.2",
    "fd00:10:244:1::2",
    "::ffff:10.244.1.2",
    "64:ff9b::10.244.1.2",
    "64:ff9b:1::10.244.1.2",
    "2002:af4:102::1",
    "2001:0:4136:e378:8000:63bf:f50b:fefd",
    "::10.244.1.2",
    "::ffff:0:10.244.1.2",
];
const SERVICES: [&str; 9] = [
    "10.96.0.10",
    "fd00:10:96::10",
    "::ffff:10.96.0.10",
    "64:ff9b::10.96.0.10",
    "64:ff9b:1::10.96.0.10",
    "2002:a60:a::1",
    "2001:0:4136:e378:8000:63bf:f59f:fff5",
    "::10.96.0.10",
    "::ffff:0:10.96.0.10",
];
const NODES: [&str; 9] = [
    "192.168.10.11",
    "2001:db8:10::11",
    "::ffff:192.168.10.11",
    "64:ff9b::192.168.10.11",
    "64:ff9b:1::192.168.10.11",
    "2002:c0a8:a0b::1",
    "2001:0:4136:e378:8000:63bf:3f57:f5f4",
    "::192.168.10.11",
    "::ffff:0:192.168.10.11",
];

pub(super) fn other_resolvers() -> Vec<Attack> {
    let known = ["1.1.1.1", "2606:4700:4700::1111"].map(|text| text.parse().unwrap());
    let counted = Counted::Packets("other_resolver");
    let over = |what, way: &'static str| {
        let act = move |attacks: &Attacks, who: Exec<'_>, to: [IpAddr; 2]| {
            to.map(|to| attacks.dig(who, to, "x.world.test", &[way]))
                .concat()
        };
        Attack::new(what, "dig", counted, act)
    };
    let quic = |what, port: u16| {
        let act = move |attacks: &Attacks, who: Exec<'_>, to: [IpAddr; 2]| {
            attacks.probes(who, both(&to, port), &["--protocol", "udp"])
        };
        Attack::new(what, "lab probe", counted, act)
    };
    vec![
        over("DoT", "+tls"),
        quic("DoQ", 853),
        over("DoH by address", "+https").to(known),
        quic("DoH over QUIC", 443).to(known),
    ]
}

pub(super) fn of_packets(denied: [IpAddr; 2]) -> Vec<Attack> {
    let blocked = Counted::Packets("blocked");
    let metadata = ["169.254.169.254", "64:ff9b::a9fe:a9fe"].map(|text| text.parse().unwrap());
    let connects = |what| {
        Attack::new(what, "lab probe", blocked, |attacks, who, to| {
            attacks.probes(who, both(&to, 7), &[])
        })
    };
    let pings = |what, size: &'static str| {
        Attack::new(what, "ping", blocked, move |attacks, who, to| {
            attacks.pings(who, to, size)
        })
    };
    let once: &[&str] = &["--count", "1"];
    vec![
        connects("an address that no answer named"),
        connects("an address that a rule denies").to(denied),
        connects("metadata by address").to(metadata),
        pings("ICMP tunnel", "1000").least(4),
        pings("ICMP in fragments", "3000").least(4),
        Attack::forged("fragments", "fragments", once),
        Attack::forged("fragments to a denied address", "fragments", once).to(denied),
        Attack {
            arrives: false,
            ..Attack::forged(
                "a later fragment alone",
                "fragments",
                &["--later-alone", "--count", "1"],
            )
            .counted(Counted::Kernel)
        },
        Attack::forged("raw socket, UDP", "udp", &[]).least(10),
        Attack::forged("raw socket, TCP", "tcp", &[]).least(10),
        Attack::forged("raw socket, SCTP", "sctp", &[]).least(10),
        Attack::new("packet socket", "lab forge", blocked, |attacks, who, to| {
            let mac = attacks.bridge();
            let more = ["--device", "eth0", "--to-mac", &mac];
            attacks.forge(who, "frame", attacks.own(who), both(&to, 7), &more)
        })
        .least(10),
    ]
}

/// Sources that are not the pod's own. Every pod's port is bound to its own, so the pod without a policy sends with that.
pub(super) fn of_sources() -> Vec<Attack> {
    let spoofed = |what, from: fn(&Attacks) -> [IpAddr; 2]| {
        Attack::new(
            what,
            "lab forge",
            Counted::Frames("bind"),
            move |attacks, who, to| {
                attacks.forge(who, "udp", both(&from(attacks), 5000), both(&to, 7), &[])
            },
        )
        .free(|attacks, who, to| attacks.forge(who, "udp", attacks.own(who), both(&to, 7), &[]))
        .least(10)
    };
    vec![
        spoofed("a neighbour's source", |attacks| {
            [attacks.near.addresses[0], attacks.near.addresses[1]]
        }),
        spoofed("a source of the world", |_| nobody(249)),
        spoofed("the node's source", |attacks| {
            attacks.scene.lab.node(NODE).unwrap().addresses()
        }),
    ]
}

pub(super) fn of_nodes() -> Vec<Attack> {
    let service = ["10.96.0.98", "fd00:10:96::98"].map(|text| text.parse().unwrap());
    vec![
        Attack::new(
            "the tunnel's endpoint",
            "lab forge",
            Counted::Packets("endpoint"),
            |attacks, who, _| {
                attacks
                    .endpoints
                    .iter()
                    .for_each(|to| attacks.forge_to(who, *to));
                String::new()
            },
        )
        .through(Through::Gateway)
        .least(5),
        Attack::new(
            "packets in packets to a node",
            "lab forge",
            Counted::Packets("encapsulated"),
            |attacks, who, _| {
                for port in CARRIERS {
                    let to = attacks.scene.lab.node(GATEWAY).unwrap().addresses();
                    both(&to, port)
                        .iter()
                        .for_each(|to| attacks.forge_to(who, *to));
                }
                String::new()
            },
        )
        .through(Through::Gateway)
        .least(20),
        Attack::new(
            "a service that nobody translated",
            "lab probe",
            Counted::Packets("service"),
            |attacks, who, to| attacks.probes(who, both(&to, 80), &[]),
        )
        .to(service),
    ]
}
