//! Other ways to resolve a name than the node's forwarder, with packets that the world counts.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use postern_e2e::lab::Exec;
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};

use crate::holes::{Stage, WEB, lab_program, probe, probed};

/// A resolver of the list that the operator has by itself.
const KNOWN: [&str; 2] = ["1.1.1.1", "2606:4700:4700::1111"];

/// Asks the known resolver over TLS and over HTTPS by a client of BIND, and sends UDP to both ports, as QUIC does.
fn ask_elsewhere(stage: &Stage) {
    let program = lab_program();
    for server in KNOWN {
        let at = format!("@{server}");
        for way in ["+tls", "+https"] {
            let dig = ["dig", "+tries=1", "+time=2", way, &at, "example.org"];
            let output = stage.lab.exec(WEB, &dig).unwrap();
            assert!(!output.status.success(), "nobody answers in the world");
        }
        for port in [443, 853] {
            let to = match server.contains(':') {
                true => format!("[{server}]:{port}"),
                false => format!("{server}:{port}"),
            };
            let udp = [
                &*program,
                "probe",
                &to,
                "--timeout",
                "200ms",
                "--protocol",
                "udp",
            ];
            stage.lab.exec(WEB, &udp).unwrap();
        }
    }
}

/// The forwarder's answer to the pod for a name.
fn told(stage: &Stage, server: IpAddr, name: &str) -> String {
    let (program, server) = (lab_program(), server.to_string());
    let args = [&*program, "resolve", "--server", &server, name];
    let output = stage.lab.exec(WEB, &args).unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_policy_that_filters_or_blocks_names_refuses_tls_quic_and_known_resolvers_over_https() {
    let mut stage = Stage::up("resolvers", 2);
    let ports = "meta l4proto { tcp, udp } th dport { 443, 853 }";
    let [four, six] = KNOWN;
    probe(
        &stage.lab.namespace("world"),
        "prerouting priority -400",
        [
            format!("ip daddr {four} {ports}"),
            format!("ip6 daddr {six} {ports}"),
        ],
    );
    let arrived = |lab: &_| probed(lab, Exec::World);
    stage.open("the filter", &arrived, &ask_elsewhere);

    let resolver = stage.web.world[2];
    // The default action allows everything.
    let filter = format!("dns: {{mode: Filter, refusal: REFUSED, upstreams: ['{resolver}']}}");
    let rule = "rules: [{name: apis, action: Allow, to: [{fqdn: dns.google}, {fqdn: use-application-dns.net}, {fqdn: '*.allowed.world.test'}]}]";
    stage.policy(&format!("{filter}\n  {rule}"));
    stage.shut("nothing", &arrived, &ask_elsewhere);
    let begin = Instant::now();
    let patient = [
        "dig",
        "+tries=1",
        "+time=9",
        "+tls",
        "@1.1.1.1",
        "example.org",
    ];
    stage.lab.exec(WEB, &patient).unwrap();
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "the client is refused and does not wait"
    );
    let counted = "postern_agent_counted_packets{reason=\"other_resolver\"}";
    wait_until(WAIT_DEADLINE, "the refused packets in the metrics", || {
        let refused = stage.lab.agent_metric("n1", counted)?;
        Ok((refused > 0).then_some(()))
    })
    .unwrap();

    wait_until(WAIT_DEADLINE, "an allowed name", || {
        let found = told(&stage, resolver, "a-203-0-113-2.allowed.world.test");
        Ok((found == "203.0.113.2").then_some(()))
    })
    .unwrap();
    assert_eq!(told(&stage, resolver, "dns.google"), "REFUSED");
    assert_eq!(
        told(&stage, resolver, "use-application-dns.net"),
        "NXDOMAIN"
    );

    stage.policy("dns: {mode: Block}");
    stage.shut("nothing, with the mode Block", &arrived, &ask_elsewhere);
    stage.finish();
}
