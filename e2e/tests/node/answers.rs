//! Answers of many addresses, a set of the kernel that has no room, and names that a pod asks for at another port.

use std::net::{IpAddr, SocketAddr};

use postern_e2e::lab::traffic::names::name_of;
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};

use crate::holes::WEB;
use crate::names::{Names, named};
use crate::terms::{own, second};

const NODE: &str = "n1";

/// The name of a hundred addresses from this one on.
fn hundred_from(address: IpAddr) -> String {
    let name = name_of(address);
    name.replacen("a-", "h-", 1)
}

/// For each set of IPv4 addresses that answers granted.
fn each_set(act: &str) -> String {
    format!(
        "for set in $(nft list sets inet | sed -n 's/.*set \\(granted_[^ ]*\\) .*/\\1/p'); do \
         nft list set inet postern $set | grep -q ipv4_addr || continue; {act}; done"
    )
}

#[test]
fn an_answer_of_a_hundred_addresses_opens_each_and_one_that_the_kernel_has_no_room_for_is_none() {
    let names = Names::up();
    let scene = &names.scene;
    scene.apply(&named(names.resolver, "{fqdn: '*.allowed.world.test'}"));
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();
    let [to, _] = own(&scene.web, 7);
    let [other, _] = second(&scene.web, 7);
    let seen = Some(scene.gateway[0].to_string());
    let shell = |line: &str| scene.lab.shell(NODE, line).unwrap();

    // Too long for a datagram with 512 bytes and for one with 1232: it comes whole by TCP.
    for more in ["+noedns", "+bufsize=1232", "+dnssec"] {
        let told = names.dig(
            WEB,
            names.resolver,
            &hundred_from(to.ip()),
            &["+short", more],
        );
        assert_eq!(told.lines().count(), 100, "{more}: {told}");
    }
    for (size, is_cut) in [
        ("+noedns", true),
        ("+bufsize=1232", true),
        ("+bufsize=4096", false),
    ] {
        let name = hundred_from(to.ip());
        let told = names.dig(WEB, names.resolver, &name, &["+ignore", size]);
        assert_eq!(told.contains("flags: qr aa tc"), is_cut, "{size}: {told}");
        assert_eq!(told.contains("ANSWER: 100"), !is_cut, "{size}: {told}");
    }
    assert_eq!(names.connects(WEB, to), seen);
    let held = shell(&each_set(
        "nft list set inet postern $set | grep -o expires",
    ));
    assert_eq!(held.lines().count(), 100);

    shell(&each_set(
        "nft flush set inet postern $set; { echo \"add element inet postern $set {\"; for a in $(seq 0 255); do \
         for b in $(seq 0 255); do echo \"17.0.$a.$b timeout 5m,\"; done; done; echo '}'; } | nft -f -",
    ));
    let metric = "postern_agent_dns_questions_total{reason=\"not-granted\"}";
    let before = scene.lab.agent_metric(NODE, metric).unwrap();
    assert_eq!(names.told(WEB, &name_of(to.ip()), &[]), "SERVFAIL");
    assert!(scene.lab.agent_metric(NODE, metric).unwrap() > before);
    assert_eq!(names.connects(WEB, to), None);
    shell(&each_set("nft flush set inet postern $set"));
    assert_eq!(names.told(WEB, &name_of(to.ip()), &[]), to.ip().to_string());
    assert_eq!(names.connects(WEB, to), seen);

    // At another port a question is a packet as any other: the rules decide, and the filter does not see it.
    let world = "table inet port { chain in { type nat hook prerouting priority -100; udp dport 5300 redirect to :53; }; }\n";
    scene.lab.namespace("world").nft(world).unwrap();
    let rules = named(names.resolver, "{fqdn: '*.allowed.world.test'}");
    let rule = format!(
        ", {{name: port, action: Allow, to: [{{cidr: {}/32}}], ports: [{{protocol: UDP, port: 5300}}]}}]",
        other.ip()
    );
    scene.apply(&format!("{}{rule}", rules.strip_suffix(']').unwrap()));
    let at = |server: SocketAddr, name: &str| -> Option<IpAddr> {
        let told = names.dig(WEB, server.ip(), name, &["-p", "5300", "+short"]);
        told.trim().parse().ok()
    };
    let answered = wait_until(WAIT_DEADLINE, "an answer from the other port", || {
        Ok(at(other, "a-203-0-113-99.secret.world.test"))
    });
    assert_eq!(answered.unwrap().to_string(), "203.0.113.99");
    assert_eq!(at(to, "a-203-0-113-98.secret.world.test"), None);
    assert!(!names.was_asked("a-203-0-113-98.secret.world.test"));
    scene.nothing_leaked_but(&[]);
}
