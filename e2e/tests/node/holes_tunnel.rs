//! The holes at the two ends of a tunnel: what the node itself sends, what enters and leaves the device, and what the
//! gateway answers. Each is shut on a whole node and with any block but the last one taken out, and open with all of
//! them out: so the zero is the blocks' doing.

use std::net::IpAddr;

use crate::holes::{NODE, Stage, WEB, ask, both, lab, nobody, probe, probed, sent, serving};
use nix::sys::signal::Signal;
use postern_e2e::lab::{Exec, PodOptions};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, exit, policy, wait_until};
use postern_host_testing::allow_list;

const GATEWAY: &str = "gw-1";
const EGRESS: [&str; 2] = ["192.168.10.200", "2001:db8:10::200"];

impl Stage {
    /// Do the gateway's own addresses answer what comes by the tunnel?
    fn own_by_tunnel(&self) -> [bool; 2] {
        let (tunnel, own) = (self.tunnel(), self.addresses(GATEWAY));
        [0, 1].map(|family| {
            let (from, to) = (tunnel[family].to_string(), own[family].to_string());
            let ping = ["ping", "-c", "1", "-W", "1", "-I", &from, &to];
            let answered = self.lab.exec(Exec::Node(NODE), &ping);
            answered.unwrap().status.success()
        })
    }
}

fn egress() -> [IpAddr; 2] {
    EGRESS.map(|address| address.parse().unwrap())
}

/// Counts what enters the tunnel towards the world with another source than the tunnel's.
fn count_raw(stage: &Stage) {
    let [four, six] = [stage.tunnel()[0], stage.tunnel()[1]];
    let matches = [
        format!("oifname \"pst-c-*\" ip daddr 203.0.112.0/20 ip saddr != {four}"),
        format!("oifname \"pst-c-*\" ip6 daddr 2001:db8:aaaa::/48 ip6 saddr != {six}"),
    ];
    let node = stage.lab.node_namespace(NODE);
    probe(&node, "postrouting priority 200", matches);
}

fn raw(lab: &TestLab) -> [u64; 2] {
    probed(lab, Exec::Node(NODE))
}

#[test]
fn hole_f_a_nodes_own_reset_for_a_cut_tunnel_flow_does_not_leave_by_the_uplink() {
    let mut stage = Stage::up("f", 2);
    let tunnel = stage.tunnel();
    let meter = |lab: &TestLab| sent(lab, |key| key.node == NODE && tunnel.contains(&key.source));
    // Comes out of the tunnel for a flow that the node does not know any more.
    let act = |stage: &Stage| {
        for (from, to) in both(&nobody(35), 80).into_iter().zip(both(&tunnel, 5555)) {
            stage.forge(Exec::Node(GATEWAY), "tcp", from, to, &["--flags", "16"]);
        }
    };
    let rules_out = "for f in -4 -6; do ip $f rule delete priority 10005; done";
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    stage.shell("nft flush chain inet postern no_service");
    stage.shut("silence about tunnel addresses", &meter, &act);
    stage.shell(rules_out);
    stage.open("silence and the rules by source", &meter, &act);
    stage.finish();
}

#[test]
fn hole_g_a_host_of_the_lan_does_not_inject_into_a_tunnel_flow() {
    let mut stage = Stage::up("g", 2);
    let tunnel = stage.tunnel();
    let forged =
        ["ipv4", "ipv6"].map(|family| format!("meta nfproto {family} udp sport 7 udp length 14"));
    let pod = stage.lab.namespace(&stage.web.sandbox());
    probe(&pod, "input priority 0", forged);
    for (to, node) in tunnel.iter().zip(stage.addresses(NODE)) {
        let route = format!("ip route add {to} via {node}");
        let world = stage.lab.exec_ok(Exec::World, &["sh", "-c", &route]);
        world.unwrap();
    }
    let meter = |lab: &TestLab| probed(lab, WEB);
    let act = |stage: &Stage| {
        for (world, to) in stage.worlds(7).into_iter().zip(both(&tunnel, 4700)) {
            let flow = ["--protocol", "udp", "--source-port", "4700"];
            wait_until(WAIT_DEADLINE, "an answer in the flow", || {
                Ok(ask(&stage.lab, WEB, world, &flow))
            })
            .unwrap();
            stage.forge_udp(Exec::World, world, to);
        }
    };
    stage.shut("nothing", &meter, &act);
    stage.kill_agent();
    stage.take_out("origin", "\"inject\"");
    stage.open("tunnel addresses from their tunnel only", &meter, &act);
    stage.finish();
}

#[test]
fn hole_l_a_tunnel_without_an_address_does_not_carry_the_nodes() {
    let mut stage = Stage::up("l", 2);
    count_raw(&stage);
    stage.shut("nothing", &raw, &Stage::ask_world);
    stage.kill_agent();
    for (address, length) in stage.tunnel().iter().zip([32, 128]) {
        stage.shell(&format!("ip addr del {address}/{length} dev pst-c-eu"));
    }
    // With the last IPv4 address of a device the kernel takes all its IPv4 routes (`ip route show table 5210`).
    stage.shell("ip route add default dev pst-c-eu table 5210");
    stage.shut("the tunnel's addresses", &raw, &Stage::ask_world);
    stage.shell("nft flush chain inet postern source");
    let out = "the tunnel's addresses and the check after SNAT";
    stage.open(out, &raw, &Stage::ask_world);
    stage.finish();
}

/// Stops the tunnel process and lets packets for the old exit wait in its device.
fn hang(stage: &Stage) {
    stage.lab.signal("tunnel-n1", Signal::SIGSTOP).unwrap();
    let pod = both(&stage.web.addresses, 5000);
    for (from, to) in pod.into_iter().zip(stage.worlds(7)) {
        stage.forge(WEB, "udp", from, to, &["--count", "50"]);
    }
}

/// Moves the policy to the other exit and waits until the pod is not steered to the old one.
fn move_away(stage: &Stage) {
    stage.lab.apply_yaml(&policy("us", "")).unwrap();
    let maps = "nft list map inet postern steer4; nft list map inet postern steer6";
    wait_until(
        WAIT_DEADLINE,
        "a pod that is not steered to the old exit",
        || {
            let steered = stage.shell(maps);
            let old = |address: &IpAddr| steered.contains(&format!("{address} : goto to_eu"));
            Ok((!stage.web.addresses.iter().any(old)).then_some(()))
        },
    )
    .unwrap();
}

#[test]
fn hole_m_a_hung_tunnel_process_killed_at_a_move_delivers_nothing_by_the_old_exit() {
    // The tunnels of this lab are userspace ones.
    allow_list::absent("wireguard-staging-in-the-kernel");
    let lab = lab(3, 2);
    lab.apply_yaml(&exit("us", "gw-2", "")).unwrap();
    let [old, new] = ["gw-1", "gw-2"].map(|name| lab.node(name).unwrap().addresses());
    let mut stage = Stage::of("m", lab, "", old);
    // Another pod stays with the old exit: without it device and peer would go at the move, and the packets with them.
    let stays = policy("eu", "").replace("namespace: crawlers", "namespace: stays");
    stage.lab.apply_yaml(&stays).unwrap();
    let other = serving(&stage.lab, "stays/other", PodOptions::on(NODE));
    stage.await_source(Exec::Pod("stays/other"), both(&other.world, 7), old);
    let worlds = stage.web.world;
    let meter = |lab: &TestLab| {
        sent(lab, |key| {
            key.node == GATEWAY && worlds.contains(&key.destination)
        })
    };
    stage.open("the kill: the process goes on", &meter, &|stage| {
        hang(stage);
        move_away(stage);
        stage.lab.signal("tunnel-n1", Signal::SIGCONT).unwrap();
    });
    stage.await_source(WEB, stage.worlds(7), new);
    stage.lab.apply_yaml(&policy("eu", "")).unwrap();
    stage.await_source(WEB, stage.worlds(7), old);
    // The kill is the test's, as a supervisor's would be: the agent cannot end a process of another PID namespace.
    stage.shut("nothing, the process is killed", &meter, &|stage| {
        hang(stage);
        move_away(stage);
        stage.lab.kill("tunnel-n1").unwrap();
        stage.lab.start_tunnel(NODE).unwrap();
        stage.await_source(WEB, stage.worlds(7), new);
    });
    stage.finish();
}

#[test]
fn hole_n_what_is_not_translated_does_not_enter_the_tunnel() {
    let mut stage = Stage::up("n", 2);
    count_raw(&stage);
    let act = |stage: &Stage| {
        // Straight to the pod, which answers; then what conntrack calls invalid.
        let pod = both(&stage.web.addresses, 7);
        for (from, to) in both(&nobody(37), 7700).into_iter().zip(pod) {
            stage.forge_udp(Exec::World, from, to);
        }
        for (from, to) in pod.into_iter().zip(stage.worlds(7)) {
            stage.forge(WEB, "tcp", from, to, &["--flags", "63"]);
            stage.forge(WEB, "error", from, to, &[]);
        }
    };
    stage.shut("nothing", &raw, &act);
    stage.kill_agent();
    stage.shell("nft flush chain inet postern into_tunnel");
    stage.shut("the check before the tunnel", &raw, &act);
    stage.shell("nft flush chain inet postern source");
    stage.open("the checks before the tunnel and after SNAT", &raw, &act);
    stage.finish();
}

#[test]
fn hole_p_a_gateways_pod_that_was_released_does_not_keep_the_nodes_address() {
    let mut stage = Stage::with_egress("p", EGRESS);
    // The entries would end by themselves, and a zero would show nothing.
    let patient = [
        ("net/netfilter/nf_conntrack_udp_timeout", "600"),
        ("net/netfilter/nf_conntrack_udp_timeout_stream", "600"),
    ];
    stage.lab.node_namespace(GATEWAY).sysctl(&patient).unwrap();
    let old = serving(&stage.lab, "late/old", PodOptions::on(GATEWAY));
    let own = stage.addresses(GATEWAY);
    let worlds = both(&old.world, 7);
    let act = |stage: &Stage| {
        for to in worlds {
            let flow = ["--protocol", "udp", "--source-port", "4920"];
            let _ = ask(&stage.lab, Exec::Pod("late/old"), to, &flow);
        }
    };
    let meter = |lab: &TestLab| {
        sent(lab, |key| {
            key.node == GATEWAY && own.contains(&key.source) && old.world.contains(&key.destination)
        })
    };
    stage.open("the policy", &meter, &act);
    let entries = |stage: &Stage| {
        let list = "for f in ipv4 ipv6; do conntrack -L -f $f -p udp --orig-port-src 4920 2>/dev/null; done; true";
        stage.lab.shell(GATEWAY, list).unwrap().lines().count()
    };
    assert_eq!(entries(&stage), 2);
    let late = policy("eu", "").replace("namespace: crawlers", "namespace: late");
    stage.lab.apply_yaml(&late).unwrap();
    stage.await_source(Exec::Pod("late/old"), worlds, egress());
    wait_until(WAIT_DEADLINE, "the cut of the old entries", || {
        Ok((entries(&stage) == 0).then_some(()))
    })
    .unwrap();
    stage.shut("nothing", &meter, &act);
    stage.lab.kill("agent-gw-1").unwrap();
    for ((pod, to), node) in both(&old.addresses, 4920)
        .into_iter()
        .zip(worlds)
        .zip(both(&own, 4920))
    {
        let (from, to) = (pod.ip(), to.ip());
        let line = format!(
            "conntrack -D -p udp -s {from} -d {to} 2>/dev/null; \
             conntrack -I -p udp -t 600 -s {from} -d {to} --sport 4920 --dport 7 --src-nat {node}"
        );
        stage.lab.shell(GATEWAY, &line).unwrap();
    }
    assert_eq!(entries(&stage), 2);
    stage.shut("the cut: the old entries put back", &meter, &act);
    stage
        .lab
        .shell(GATEWAY, "nft flush chain inet postern source")
        .unwrap();
    stage.open("the cut and the check after SNAT", &meter, &act);
    stage.finish();
}

#[test]
fn hole_q_a_gateway_answers_nothing_for_an_egress_address_that_nobody_serves() {
    let mut stage = Stage::with_egress("q", EGRESS);
    let meter = |lab: &TestLab| {
        sent(lab, |key| {
            key.node == GATEWAY && nobody(39).contains(&key.destination)
        })
    };
    let act = |stage: &Stage| {
        for (from, to) in both(&nobody(39), 80)
            .into_iter()
            .zip(both(&egress(), 40000))
        {
            stage.forge(Exec::World, "tcp", from, to, &["--flags", "16"]);
        }
    };
    stage.shut("nothing", &meter, &act);
    // Nor does its tunnel lead to its other addresses.
    assert_eq!(stage.own_by_tunnel(), [false, false]);
    stage.lab.kill("agent-gw-1").unwrap();
    stage
        .lab
        .shell(GATEWAY, "nft flush chain inet postern no_service")
        .unwrap();
    stage.open("silence about egress addresses", &meter, &act);
    assert_eq!(stage.own_by_tunnel(), [true, true]);
    stage.finish();
}

/// Does anybody on the LAN tell a host of the LAN that it has this address?
fn is_told(stage: &Stage, address: &IpAddr) -> bool {
    let world = |line: &str| {
        let output = stage.lab.exec(Exec::World, &["sh", "-c", line]).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    world(&format!(
        "ip route replace {address} dev eth0; ip neigh flush to {address} dev eth0; ping -c 1 -W 1 {address}"
    ));
    wait_until(WAIT_DEADLINE, "the end of a resolution", || {
        let entry = world(&format!("ip neigh show to {address} dev eth0"));
        let ends = [
            (entry.contains("lladdr"), true),
            (entry.contains("FAILED"), false),
        ];
        Ok(ends
            .into_iter()
            .find_map(|(is_so, told)| is_so.then_some(told)))
    })
    .unwrap()
}

#[test]
fn a_node_tells_no_host_of_the_lan_that_it_has_a_tunnel_address() {
    let stage = Stage::up("arp", 2);
    let [client, gateway] = [NODE, GATEWAY].map(|node| {
        let body = stage.lab.current_body(node).unwrap();
        let addresses = body.tunnels[0].addresses.iter().map(ipnet::IpNet::addr);
        addresses.collect::<Vec<IpAddr>>()
    });
    for own in stage.addresses(NODE) {
        assert!(is_told(&stage, &own), "the meter: {own} is the node's own");
    }
    for address in client.iter().chain(&gateway) {
        assert!(!is_told(&stage, address), "{address}");
    }
    stage.kill_agent();
    stage.shell("nft delete table arp postern");
    for address in &client {
        // The kernel itself answers a solicitation only for an address of the link that it came by (`ndisc_recv_ns`).
        assert_eq!(is_told(&stage, address), address.is_ipv4(), "{address}");
    }
}
