//! The holes by which a pod, or a host of the LAN with a pod's address, could bypass the exit. Each is shut on a whole
//! node and with any block but the last one taken out, and open with all of them out: so the zero is the blocks' doing.

use std::net::{IpAddr, SocketAddr};

use crate::holes::{
    NODE, Stage, WEB, ask, both, lab_program, nobody, probe, probed, sent, serving,
};
use postern_e2e::lab::{Binaries, Exec, PodOptions, PodRecord, TrafficPolicy};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, wait_until};
use serde_json::{Value, json};

const BINDING: &str = "nft flush chain bridge postern origin";
const ICMP6: u8 = 58;
const LOCK: &str = "ip xfrm policy flush";

/// Packets that left the selected pod's node for the world addresses that are the pod's own.
fn by_the_node(worlds: [IpAddr; 2]) -> impl Fn(&TestLab) -> [u64; 2] {
    move |lab| {
        sent(lab, |key| {
            key.node == NODE && worlds.contains(&key.destination)
        })
    }
}

fn own_worlds(pod: &PodRecord) -> [IpAddr; 2] {
    [pod.world[0], pod.world[1]]
}

/// Five packets in each family.
fn forge_each(stage: &Stage, from: [SocketAddr; 2], to: [SocketAddr; 2]) {
    for (from, to) in from.into_iter().zip(to) {
        stage.forge_udp(WEB, from, to);
    }
}

#[test]
fn hole_a_without_our_tables_the_lock_holds_what_is_selected() {
    let mut stage = Stage::up("a", 2);
    let meter = by_the_node(own_worlds(&stage.web));
    stage.shut("nothing", &meter, &Stage::ask_world);
    stage.kill_agent();
    stage.shell("nft 'delete table inet postern; delete table bridge postern'");
    stage.shut("our tables", &meter, &Stage::ask_world);
    stage.shell("nft flush ruleset");
    stage.lab.restore_masquerade(NODE).unwrap();
    stage.lab.translate_services().unwrap();
    stage.shut("the whole ruleset", &meter, &Stage::ask_world);
    stage.shell(LOCK);
    stage.open("our tables and the lock", &meter, &Stage::ask_world);
    stage.finish();
}

#[test]
fn hole_b_a_selected_pod_with_a_released_pods_source_is_dropped() {
    let mut stage = Stage::up("b", 2);
    let released = serving(&stage.lab, "default/near", PodOptions::on(NODE));
    let meter = by_the_node(own_worlds(&stage.web));
    let act = |stage: &Stage| {
        forge_each(stage, both(&released.addresses, 4000), stage.worlds(7));
    };
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    stage.shell(BINDING);
    stage.open("binding", &meter, &act);
    stage.finish();
}

#[test]
fn hole_c_a_pod_with_a_source_of_the_world_or_of_a_node_is_dropped() {
    let mut stage = Stage::up("c", 2);
    let meter = by_the_node(own_worlds(&stage.web));
    let act = |stage: &Stage| {
        for from in [nobody(250), stage.addresses(NODE)] {
            forge_each(stage, both(&from, 5000), stage.worlds(7));
        }
    };
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    stage.shell(BINDING);
    stage.shut("binding", &meter, &act);
    stage.shell("nft flush chain inet postern from_pod");
    stage.shut("binding and origin", &meter, &act);
    stage.take_out("guard", "goto unclassified");
    stage.open("binding, origin and hold by pod link", &meter, &act);
    stage.finish();
}

#[test]
fn hole_d_a_pod_does_not_make_itself_a_reply_entry_with_a_forged_client() {
    let mut stage = Stage::up("d", 2);
    let meter = by_the_node(own_worlds(&stage.web));
    stage.node_port(30091, both(&stage.web.addresses, 7), TrafficPolicy::Local);
    let act = |stage: &Stage| {
        let clients = stage.worlds(7700);
        forge_each(stage, clients, both(&stage.addresses(NODE), 30091));
        forge_each(stage, both(&stage.web.addresses, 7), clients);
    };
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    stage.shell(BINDING);
    stage.shut("binding", &meter, &act);
    stage.shell("nft flush chain inet postern from_pod");
    stage.open("binding and origin", &meter, &act);
    stage.finish();
}

#[test]
fn hole_e_a_dead_pods_reply_entry_does_not_serve_the_pod_on_its_address() {
    let mut stage = Stage::up("e", 2);
    let dead = serving(&stage.lab, "default/dead", PodOptions::on(NODE));
    stage.node_port(30091, both(&dead.addresses, 7), TrafficPolicy::Local);
    // The entry would end by itself after 30 s, and a zero would show nothing.
    let patient = [
        ("net/netfilter/nf_conntrack_udp_timeout", "600"),
        ("net/netfilter/nf_conntrack_udp_timeout_stream", "600"),
    ];
    stage.lab.node_namespace(NODE).sysctl(&patient).unwrap();
    let clients = both(&nobody(34), 7700);
    let nodes = both(&stage.addresses(NODE), 30091);
    for (from, to) in clients.into_iter().zip(nodes) {
        stage.forge_udp(Exec::World, from, to);
    }
    let entries = |stage: &Stage| {
        let list = "for f in ipv4 ipv6; do conntrack -L -f $f -p udp --orig-port-dst 30091 2>/dev/null; done; true";
        stage.shell(list).lines().count()
    };
    wait_until(WAIT_DEADLINE, "an entry for each family", || {
        Ok((entries(&stage) == 2).then_some(()))
    })
    .unwrap();
    stage.lab.delete_pod("default/dead").unwrap();
    let reuse = PodOptions {
        addresses: dead.addresses.clone(),
        ..PodOptions::on(NODE)
    };
    let heir = serving(&stage.lab, "crawlers/heir", reuse);
    assert_eq!(heir.addresses, dead.addresses);
    assert_eq!(entries(&stage), 0, "the entries are cut in both directions");
    let (heirs, meter) = (both(&heir.addresses, 7), by_the_node(nobody(34)));
    let act = |stage: &Stage| {
        for (from, to) in heirs.into_iter().zip(clients) {
            stage.forge_udp(Exec::Pod("crawlers/heir"), from, to);
        }
    };
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    for ((client, node), pod) in clients.into_iter().zip(nodes).zip(heirs) {
        let (client, node) = (client.ip(), node.ip());
        let own = format!(
            "conntrack -D -p udp -s {} -d {client} 2>/dev/null; true",
            pod.ip()
        );
        stage.shell(&own);
        // Only `--dst-nat`, and nothing about the reply: with both the kernel has nothing to translate and does not
        // set the status `dnat` (`conntrack -L --dst-nat`).
        stage.shell(&format!(
            "conntrack -I -p udp -t 600 -s {client} -d {node} --sport 7700 --dport 30091 --dst-nat {pod}"
        ));
    }
    stage.open("the cut: the dead pod's entries put back", &meter, &act);
    stage.finish();
}

#[test]
fn hole_h_neighbour_discovery_between_pods_passes_and_no_solicitation_leaves() {
    let mut stage = Stage::up("h", 2);
    let near = serving(&stage.lab, "default/near", PodOptions::on(NODE));
    let to = SocketAddr::new(near.addresses[1], 7);
    let reached = |stage: &Stage| {
        for pod in [WEB, Exec::Pod("default/near")] {
            stage
                .lab
                .exec_ok(pod, &["ip", "-6", "neigh", "flush", "dev", "eth0"])
                .unwrap();
        }
        stage.ask(WEB, to, "tcp").is_some()
    };
    wait_until(WAIT_DEADLINE, "an answer of a neighbour", || {
        Ok(reached(&stage).then_some(()))
    })
    .unwrap();
    let solicit = |stage: &Stage| {
        let (from, to) = (both(&stage.web.addresses, 0)[1], stage.worlds(0)[1]);
        stage.forge(WEB, "solicit", from, to, &[]);
    };
    let worlds = own_worlds(&stage.web);
    let meter = |lab: &TestLab| {
        sent(lab, |key| {
            key.node == NODE && key.protocol == ICMP6 && worlds.contains(&key.destination)
        })
    };
    stage.shut("nothing", &meter, &solicit);
    stage.kill_agent();
    stage.take_out("guard", "hoplimit 255");
    stage.take_out("guard", "ff02::/16");
    assert!(
        !reached(&stage),
        "without the exception IPv6 between pods is dead"
    );
    stage.shell("nft 'flush chain inet postern guard; flush chain inet postern last; flush chain inet postern steer'");
    stage.shut("guard and steering", &meter, &solicit);
    stage.shell(LOCK);
    stage.open_in(&[1], "guard, steering and the lock", &meter, &solicit);
    stage.finish();
}

#[test]
fn hole_i_questions_that_no_redirect_sees_are_dropped_or_named_by_preflight() {
    let mut stage = Stage::up("i", 2);
    let resolver = stage.lab.pod("kube-system/resolver").unwrap();
    let [four, six] = [stage.web.addresses[0], stage.web.addresses[1]];
    let questions = [
        format!("ip saddr {four} udp dport 53"),
        format!("ip6 saddr {six} udp dport 53"),
    ];
    let inside = stage.lab.namespace(&resolver.sandbox());
    probe(&inside, "input priority 0", questions);
    let meter = |lab: &TestLab| probed(lab, Exec::Pod("kube-system/resolver"));
    let act = |stage: &Stage| {
        for server in &resolver.addresses {
            let (program, server) = (lab_program(), server.to_string());
            let args = [
                &program,
                "resolve",
                "--server",
                &server,
                "whoami.world.test",
            ];
            stage.lab.exec(WEB, &args).unwrap();
        }
    };
    stage.shut("nothing", &meter, &act);
    assert_eq!(check(&stage, "br_netfilter")["result"], "Ok");
    assert_eq!(check(&stage, "untracked DNS")["result"], "Ok");
    // As NodeLocal DNSCache does it for the addresses that it serves.
    stage.shell(
        "nft 'add table inet raw; add chain inet raw pre { type filter hook prerouting priority -300; }; \
         add rule inet raw pre udp dport 53 notrack'",
    );
    stage.shut("tracking of questions", &meter, &act);
    assert_eq!(check(&stage, "untracked DNS")["result"], "Warning");
    stage.policy("dns: {mode: Block}");
    stage.shut("tracking of questions, names blocked", &meter, &act);
    preflight_is_reported(&stage, "True", &[]);
    let off = [
        ("net/bridge/bridge-nf-call-iptables", "0"),
        ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ];
    stage.lab.node_namespace(NODE).sysctl(&off).unwrap();
    stage.open("br_netfilter", &meter, &act);
    assert_eq!(check(&stage, "br_netfilter")["result"], "Failed");
    // Otherwise the next look comes within a minute.
    stage.lab.stop("agent-n1").unwrap();
    stage.lab.start_agent(NODE).unwrap();
    preflight_is_reported(&stage, "False", &["br_netfilter", "untracked DNS"]);
    let on = off.map(|(path, _)| (path, "1"));
    stage.lab.node_namespace(NODE).sysctl(&on).unwrap();
    stage.kill_agent();
    stage.take_out("steer", "\"dns_untracked\"");
    let out = "tracking of questions and the rule about such questions";
    stage.open(out, &meter, &act);
    stage.finish();
}

/// The condition `Preflight` of the node's report has this status and names these checks.
fn preflight_is_reported(stage: &Stage, status: &str, names: &[&str]) {
    let what = format!("Preflight={status}");
    let says = |report: &Value| {
        let mut conditions = report["conditions"].as_array().into_iter().flatten();
        let found = conditions.find(|condition| condition["type"] == "Preflight");
        found.is_some_and(|condition| {
            let message = condition["message"].as_str().unwrap_or_default();
            condition["status"] == status && names.iter().all(|name| message.contains(name))
        })
    };
    stage.lab.await_report(NODE, &what, says).unwrap();
}

/// The answer of `preflight` to one of its questions.
fn check(stage: &Stage, name: &str) -> Value {
    let program = Binaries::locate().unwrap().path("postern-agent");
    let args = [program.to_str().unwrap(), "preflight", "-o", "json"];
    let output = stage.lab.exec(Exec::Node(NODE), &args).unwrap();
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut checks = checks.into_iter();
    checks.find(|check| check["check"] == name).unwrap()
}

#[test]
fn hole_j_another_nodes_port_with_an_endpoint_in_the_world_is_refused() {
    let mut stage = Stage::up("j", 3);
    stage.node_port(30021, stage.worlds(7), TrafficPolicy::Cluster);
    // Outside of the default range of an API server.
    stage.node_port(20021, stage.worlds(7), TrafficPolicy::Cluster);
    stage.await_node_port(20021);
    external_address(&stage, "n2", 20090);
    let worlds = own_worlds(&stage.web);
    let meter = |lab: &TestLab| {
        sent(lab, |key| {
            key.node == "n2" && worlds.contains(&key.destination)
        })
    };
    let asks = |stage: &Stage, port| {
        for to in both(&stage.addresses("n2"), port) {
            let _ = stage.ask(WEB, to, "udp");
            let _ = stage.ask(WEB, to, "tcp");
        }
    };
    let ports = [30021, 20021];
    for port in ports.into_iter().chain([20090]) {
        let out = format!("nothing, port {port}");
        stage.shut(&out, &meter, &|stage| asks(stage, port));
    }
    stage.kill_agent();
    stage.take_out("inside", "30000-32767");
    for port in ports {
        let out = format!("the rule about ports of other nodes, port {port}");
        stage.open(&out, &meter, &|stage| asks(stage, port));
    }
    let external = |stage: &Stage| asks(stage, 20090);
    stage.shut("the rule about ports of other nodes", &meter, &external);
    stage.take_out("inside", "@node_service");
    stage.open("the rules about other nodes", &meter, &external);
    stage.finish();
}

/// A Service whose external addresses are a node's, and whose endpoints are in the world. That node translates it; the pod's
/// own does not, as where its kube-proxy is late.
fn external_address(stage: &Stage, node: &str, port: u16) {
    let addresses = stage.addresses(node);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "external"},
        "spec": {
            "clusterIP": "None", "externalIPs": addresses,
            "ports": [{"name": "tcp", "port": port, "protocol": "TCP"}, {"name": "udp", "port": port, "protocol": "UDP"}],
        },
    });
    stage.lab.apply(vec![service]).unwrap();
    let [four, six] = stage.worlds(7);
    let [own4, own6] = addresses;
    let translation = format!(
        "table inet external {{ chain pre {{ type nat hook prerouting priority -100; \
         ip daddr {own4} meta l4proto {{ tcp, udp }} th dport {port} dnat ip to {four}; \
         ip6 daddr {own6} meta l4proto {{ tcp, udp }} th dport {port} dnat ip6 to {six}; }}; \
         chain post {{ type nat hook postrouting priority 100; ct status dnat masquerade; }}; }}\n"
    );
    stage.lab.node_namespace(node).nft(&translation).unwrap();
    let sockets = both(&addresses, port);
    stage.await_cluster("the external addresses", |cluster| {
        sockets
            .iter()
            .all(|socket| cluster.node_services.contains(socket))
    });
}

#[test]
fn hole_k_a_service_address_that_nobody_translated_does_not_leave_the_node() {
    let mut stage = Stage::up("k", 2);
    let services: [IpAddr; 2] = ["10.96.0.98", "fd00:10:96::98"].map(|text| text.parse().unwrap());
    let meter = |lab: &TestLab| sent(lab, |key| services.contains(&key.destination));
    let act = |stage: &Stage| {
        for to in both(&services, 80) {
            let _ = ask(&stage.lab, WEB, to, &["--protocol", "udp"]);
            let _ = ask(&stage.lab, WEB, to, &["--protocol", "tcp"]);
        }
    };
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    stage.shell(
        "nft 'add element inet postern inside4 { 10.96.0.0/16 }; add element inet postern inside6 { fd00:10:96::/112 }'",
    );
    stage.open("what is inside counts service addresses in", &meter, &act);
    stage.finish();
}

#[test]
fn hole_o_a_host_of_the_lan_with_a_pods_source_does_not_get_the_pods_exit() {
    let mut stage = Stage::up("o", 2);
    let mac = stage
        .shell("cat /sys/class/net/eth0/address")
        .trim()
        .to_owned();
    let worlds = own_worlds(&stage.web);
    let meter = |lab: &TestLab| sent(lab, |key| worlds.contains(&key.destination));
    let act = |stage: &Stage| {
        for (from, to) in both(&stage.web.addresses, 5000)
            .into_iter()
            .zip(stage.worlds(7))
        {
            stage.forge(
                Exec::World,
                "frame",
                from,
                to,
                &["--device", "eth0", "--to-mac", &mac],
            );
        }
    };
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    stage.take_out("origin", "\"spoof_in\"");
    stage.shut("the source rule", &meter, &act);
    stage.take_out("steer", "@podlinks accept");
    stage.open(
        "the source rule and steering of pod links alone",
        &meter,
        &act,
    );
    stage.finish();
}

/// A UDP socket is enough: what the packet carries is unpacked by the other node and leaves with that node's address.
#[test]
fn hole_r_a_packet_for_another_nodes_tunnels_and_overlays_is_refused_and_counted() {
    const OTHER: &str = "gw-1";
    let mut stage = Stage::up("r", 2);
    // Whatever the source: a CNI that masquerades what leaves the pods' range gives it the node's.
    let matches = ["ipv4", "ipv6"]
        .map(|family| format!("meta nfproto {family} udp dport {{ 4789, 6081, 8472 }}"));
    probe(
        &stage.lab.node_namespace(OTHER),
        // Before that node's own guard, which drops them too.
        "prerouting priority -300",
        matches,
    );
    let meter = |lab: &TestLab| probed(lab, Exec::Node(OTHER));
    let send = |port: u16| {
        move |stage: &Stage| {
            let from = both(&stage.web.addresses, 4000);
            forge_each(stage, from, both(&stage.addresses(OTHER), port));
        }
    };
    for port in [4789, 6081, 8472] {
        stage.shut(&format!("nothing, port {port}"), &meter, &send(port));
    }
    let counted = stage.shell("nft list counter inet postern encapsulated");
    assert!(!counted.contains("packets 0 "), "{counted}");
    stage.kill_agent();
    stage.take_out("inside", "encapsulated");
    for port in [4789, 6081, 8472] {
        stage.open(&format!("the rule about port {port}"), &meter, &send(port));
    }
    stage.finish();
}
