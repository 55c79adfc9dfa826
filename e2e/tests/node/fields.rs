//! Further fields of policies and exits with packets: rules about protocols alone, addresses that embed others, and whom an exit
//! serves and by which uplink.

use std::net::{IpAddr, SocketAddr};

use postern_e2e::lab::Exec;
use postern_e2e::proof::harness::{WAIT_DEADLINE, exit, wait_until};
use postern_intent::body::Access;

use crate::holes::{WEB, lab_program};
use crate::terms::{GATEWAY, Scene, own, second};

/// Ports of the SCTP packets that a rule allows, and of those that it does not.
const PORTS: [u16; 2] = [9, 10];

/// The pod's echo requests to its own world addresses come to be answered, or not, in both families.
fn echoes(scene: &Scene, what: &str, wanted: Access) {
    for to in own(&scene.web, 0) {
        let address = to.ip().to_string();
        let ping = ["ping", "-n", "-c", "1", "-W", "1", address.as_str()];
        let found = wait_until(WAIT_DEADLINE, what, || {
            let answered = scene.lab.exec(WEB, &ping)?.status.success();
            Ok((answered == (wanted == Access::Allow)).then_some(()))
        });
        assert!(found.is_ok(), "{what}: {to}");
    }
}

/// Counts SCTP that arrives in the world from the gateway, by port and family.
fn count_sctp(scene: &Scene) {
    let [four, six] = scene.gateway;
    let rules: String = PORTS
        .iter()
        .map(|port| {
            format!(
                "ip saddr {four} sctp dport {port} counter name four_{port}; ip6 saddr {six} sctp dport {port} counter name six_{port}; "
            )
        })
        .collect();
    let counters: String = PORTS
        .iter()
        .map(|port| format!("counter four_{port} {{ }}; counter six_{port} {{ }}; "))
        .collect();
    let table = format!(
        "table inet associations {{ {counters} chain seen {{ type filter hook prerouting priority -300; {rules} }}; }}\n"
    );
    scene.lab.namespace("world").nft(&table).unwrap();
}

/// SCTP packets that arrived at a port, IPv4 first.
fn counted(scene: &Scene, port: u16) -> [u64; 2] {
    ["four", "six"].map(|family| {
        let name = format!("{family}_{port}");
        let list = [
            "nft",
            "list",
            "counter",
            "inet",
            "associations",
            name.as_str(),
        ];
        let listing = scene.lab.exec_ok(Exec::World, &list).unwrap();
        let (_, after) = listing.split_once("packets ").unwrap();
        after.split_whitespace().next().unwrap().parse().unwrap()
    })
}

/// Sends the first packets of SCTP associations to each port, until some have arrived at this one.
fn associates(scene: &Scene, port: u16, what: &str) {
    let program = lab_program();
    let arrived = wait_until(WAIT_DEADLINE, what, || {
        // The allowed one last: once it has arrived, the others have been judged.
        for port in PORTS.into_iter().rev() {
            for (from, to) in scene.web.addresses.iter().zip(own(&scene.web, port)) {
                let (from, to) = (SocketAddr::new(*from, 4000).to_string(), to.to_string());
                let forge = [&program, "forge", "sctp", "--from", &from, "--to", &to];
                scene.lab.exec_ok(WEB, &forge)?;
            }
        }
        let counted = counted(scene, port);
        Ok((counted[0] > 0 && counted[1] > 0).then_some(()))
    });
    assert!(arrived.is_ok(), "{what}: {:?}", counted(scene, port));
}

fn rules_about_protocols(scene: &Scene) {
    scene.apply("defaultAction: Deny\n  rules: [{name: echo, action: Allow, ports: [{protocol: TCP, port: 7}]}]");
    scene.refuses("a rule about TCP alone", own(&scene.web, 7), "udp");
    scene.answers("every destination", own(&scene.web, 7), "tcp");
    scene.answers("every destination", second(&scene.web, 7), "tcp");
    echoes(scene, "a rule about TCP alone", Access::Deny);
    scene.apply("defaultAction: Allow\n  rules: [{name: echo, action: Deny, ports: [{protocol: TCP, port: 7}]}]");
    scene.refuses("a denied port", own(&scene.web, 7), "tcp");
    scene.refuses("a denied port", second(&scene.web, 7), "tcp");
    scene.answers("no rule fits", own(&scene.web, 7), "udp");

    scene.apply(
        "defaultAction: Deny\n  rules: [{name: ping, action: Allow, ports: [{protocol: ICMP}]}]",
    );
    scene.refuses("a rule about ICMP alone", own(&scene.web, 7), "udp");
    echoes(scene, "ICMP is allowed", Access::Allow);
    scene.apply(
        "defaultAction: Allow\n  rules: [{name: ping, action: Deny, ports: [{protocol: ICMP}]}]",
    );
    scene.answers("ICMP alone is denied", own(&scene.web, 7), "tcp");
    echoes(scene, "ICMP is denied", Access::Deny);

    let [allowed, denied] = PORTS;
    count_sctp(scene);
    scene.apply(&format!(
        "defaultAction: Deny\n  rules: [{{name: sctp, action: Allow, ports: [{{protocol: SCTP, port: {allowed}}}]}}]"
    ));
    scene.refuses("a rule about SCTP alone", own(&scene.web, 7), "tcp");
    associates(scene, allowed, "SCTP to the port that a rule allows");
    assert_eq!(counted(scene, denied), [0, 0], "no rule about this port");
    scene.apply("defaultAction: Allow");
    scene.answers("the default again", own(&scene.web, 7), "tcp");
    associates(scene, denied, "SCTP without rules");
}

/// Embeds a public address: what it leads to is the exit's network's business.
const PUBLIC: &str = "64:ff9b::cb00:7109";
/// Embeds an address of a private range, by NAT64.
const PRIVATE: &str = "64:ff9b::a63:1";
/// Embed the address where clouds serve metadata: by NAT64, by a prefix for local NAT64 and by 6to4.
const METADATA: [&str; 3] = [
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
];

fn socket(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 7)
}

/// The world has all these addresses, as where the exit's network has NAT64. The exit allows its LAN.
fn addresses_that_embed_others(scene: &Scene) {
    for address in METADATA.into_iter().chain([PUBLIC, PRIVATE]) {
        let prefix = format!("{address}/128");
        let add = ["ip", "address", "add", &prefix, "dev", "lo", "nodad"];
        scene.lab.exec_ok(Exec::World, &add).unwrap();
    }
    let seen = scene.gateway[1].to_string();
    let settles = |what: &str, address: &str, wanted: Option<&str>| {
        scene.settles(what, socket(address), "tcp", wanted);
    };
    settles("a public address embedded", PUBLIC, Some(&seen));
    settles("a private address embedded", PRIVATE, None);
    for address in METADATA {
        settles("special use embedded", address, None);
    }
    scene.apply("defaultAction: Allow\n  lanAccess: Allow");
    settles("a private one, both allow", PRIVATE, Some(&seen));
    for address in METADATA {
        settles("the LAN is no special use", address, None);
    }
    let excepted = METADATA
        .map(|address| format!("'{address}/128'"))
        .join(", ");
    let routes = format!("\n  routes: ['0.0.0.0/0', '::/0', {excepted}]");
    scene.lab.apply_yaml(&exit("eu", GATEWAY, &routes)).unwrap();
    scene.apply(&format!(
        "defaultAction: Allow\n  specialUse: {{exceptions: [{excepted}]}}"
    ));
    for address in METADATA {
        settles("special use, both except it", address, Some(&seen));
    }
    scene.apply("defaultAction: Allow");
    for address in METADATA {
        settles("no exception any more", address, None);
    }
}

fn namespaces_and_uplink_of_an_exit(scene: &Scene) {
    let by = |further: &str| scene.lab.apply_yaml(&exit("eu", GATEWAY, further)).unwrap();
    by("\n  allowedNamespaces: {from: Selector, selector: {matchLabels: {team: red}}}");
    for protocol in ["tcp", "udp"] {
        scene.refuses("not allowed", own(&scene.web, 7), protocol);
    }
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: crawlers, labels: {team: red}}\n";
    scene.lab.apply_yaml(namespace).unwrap();
    scene.answers("allowed by its label", own(&scene.web, 7), "tcp");

    // Routes lead by `eth0`, and an exit whose uplink is another one lets nothing out by it.
    let other =
        "ip link add wan1 type bridge; ip link set wan1 up; ip address add 192.0.2.1/24 dev wan1";
    scene.lab.shell(GATEWAY, other).unwrap();
    by("interface: wan1");
    for protocol in ["tcp", "udp"] {
        scene.refuses("another uplink", own(&scene.web, 7), protocol);
    }
    by("interface: eth0");
    scene.answers("the uplink that is named", own(&scene.web, 7), "tcp");
}

#[test]
fn rules_about_protocols_and_embedded_addresses_and_namespaces_and_uplinks_are_as_the_objects_say()
{
    let scene = Scene::up();
    rules_about_protocols(&scene);
    addresses_that_embed_others(&scene);
    namespaces_and_uplink_of_an_exit(&scene);
    let allowed = METADATA.into_iter().chain([PUBLIC, PRIVATE]);
    let allowed: Vec<IpAddr> = allowed.map(|address| address.parse().unwrap()).collect();
    scene.nothing_leaked_but(&allowed);
}
