//! An exit outside of the cluster: a WireGuard server that is not ours. One node has its session; the pods of all nodes leave
//! by it and by nothing else, and the credential is in the Secret alone.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use postern_e2e::lab::{
    Exec, PodOptions, UpOptions, WIREGUARD, WireguardServer, topology::world_address,
};
use postern_e2e::proof::harness::{FLOWS, Sender, TestLab, WAIT_DEADLINE, policy, wait_until};
use postern_e2e::proof::judge::Unowned;
use postern_intent::credential::{ExitCredential, SecretBytes};
use postern_intent::hex;
use serde_json::Value;

use crate::holes::{ask, serving};

const HOLDER: &str = "gw-1";
const PORT: u16 = 51_820;
/// What the server gives to its client.
const GIVEN: [&str; 2] = ["10.64.0.2", "fc00:bbbb::2"];
/// A server that does not answer is found within 15 s of the first packet that it should have answered; its name is asked
/// for every 5 s, and WireGuard makes a new handshake every 5 s.
const FOUND: Duration = Duration::from_secs(60);

/// Keys that were made for this case.
struct Keys {
    client: ExitCredential,
    server: SecretBytes,
}

impl Keys {
    fn new() -> Self {
        Self {
            client: ExitCredential {
                private_key: SecretBytes::new([0x5a; 32]),
                preshared_key: Some(SecretBytes::new([0x5b; 32])),
            },
            server: SecretBytes::new([0x5c; 32]),
        }
    }

    fn server(&self) -> WireguardServer {
        WireguardServer {
            private_key: self.server.clone(),
            port: PORT,
            client: self.client.public_key().unwrap(),
            preshared_key: self.client.preshared_key.clone(),
            addresses: vec!["10.64.0.1/24".to_owned(), "fc00:bbbb::1/64".to_owned()],
            client_addresses: vec![format!("{}/32", GIVEN[0]), format!("{}/128", GIVEN[1])],
        }
    }
}

/// The Secret with this private key, and the preshared key of the case.
fn secret(keys: &Keys, private: &SecretBytes) -> String {
    let preshared = keys.client.preshared_key.as_ref().unwrap();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{namespace: postern-system, name: vpn}}\n\
         stringData: {{privateKey: {}, presharedKey: {}}}\n---\n",
        STANDARD.encode(private.expose()),
        STANDARD.encode(preshared.expose())
    )
}

fn external(keys: &Keys, addresses: &[&str]) -> String {
    let addresses: Vec<String> = addresses
        .iter()
        .map(|address| format!("{address:?}"))
        .collect();
    format!(
        "apiVersion: postern.dev/v1alpha1\nkind: ExitNode\nmetadata: {{name: vpn}}\nspec:\n  external:\n    \
         endpoint: vpn.example.net:{PORT}\n    publicKey: {}\n    addresses: [{}]\n    \
         credentialsSecretRef: {{name: vpn}}\n    \
         gatewayNodeSelector: {{matchLabels: {{postern.dev/exit: {HOLDER}}}}}\n---\n",
        keys.server().public_key().unwrap(),
        addresses.join(", ")
    )
}

const BOTH: [&str; 2] = ["10.64.0.2/32", "fc00:bbbb::2/128"];

/// The name of the server has this address at the node that has the session.
fn name_leads_to(lab: &TestLab, address: IpAddr) {
    let hosts = hosts(lab);
    fs::write(
        &hosts,
        format!("127.0.0.1 localhost\n{address} vpn.example.net\n"),
    )
    .unwrap();
}

fn hosts(lab: &TestLab) -> PathBuf {
    lab.dir().join("hosts")
}

/// The server answers from this address. By itself it would answer from the world's own, which its client follows.
fn answers_from(lab: &TestLab, address: IpAddr) {
    let rules = format!(
        "table ip server {{ }}; delete table ip server; table ip server {{ chain output {{ \
         type filter hook output priority -300; udp sport {PORT} notrack ip saddr set {address}; }}; }}"
    );
    lab.exec_ok(Exec::World, &["nft", &rules]).unwrap();
}

/// A lab whose holder resolves by a file of ours.
fn lab() -> TestLab {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    name_leads_to(&lab, world_address(9).0.into());
    answers_from(&lab, world_address(9).0.into());
    let line = format!("mount --bind {} /etc/hosts", hosts(&lab).display());
    lab.shell(HOLDER, &line).unwrap();
    // A process keeps the mounts that were there when it started.
    lab.kill(&format!("agent-{HOLDER}")).unwrap();
    lab.start_agent(HOLDER).unwrap();
    lab
}

/// The condition of the exit, as `Status Reason: message`.
fn condition(lab: &TestLab, kind: &str) -> String {
    let verdicts = fs::read(lab.dir().join("verdicts.json")).unwrap_or_default();
    let verdicts: Value = serde_json::from_slice(&verdicts).unwrap_or_default();
    let all = verdicts["verdicts"].as_array().into_iter().flatten();
    let mut exits = all.filter(|verdict| verdict["kind"] == "ExitNode");
    let conditions = exits.next().map(|exit| exit["conditions"].clone());
    let conditions = conditions.as_ref().and_then(Value::as_array).into_iter();
    let mut conditions = conditions.flatten().filter(|one| one["type"] == kind);
    let found = conditions.next().cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", text("status"), text("reason"), text("message"))
}

fn await_condition(lab: &TestLab, kind: &str, begins: &str) {
    let mut last = String::new();
    let found = wait_until(FOUND, "the condition of the exit", || {
        last = condition(lab, kind);
        Ok(last.starts_with(begins).then_some(()))
    });
    assert!(found.is_ok(), "{kind} is {last:?}, not {begins}");
}

/// Every flow is answered after a time, and each answer names an address that the server gave.
fn leaves_by_the_server(sender: &Sender, since: Timestamp) {
    sender.await_answers(&FLOWS, since, FOUND).unwrap();
    let given = GIVEN.map(|address| address.parse::<IpAddr>().unwrap());
    for (flow, tally) in sender.since(since + Duration::from_secs(1)) {
        let other = tally.sources.iter().filter(|one| !given.contains(one));
        assert_eq!(
            other.count(),
            0,
            "{flow} of {}: {tally:?}",
            sender.pod.key()
        );
    }
}

/// What is outside of the cluster saw nothing of the pods in clear: what left the holder's uplink is the session.
fn nothing_leaked(lab: &TestLab) {
    let packets = lab.packets().unwrap();
    assert_eq!(
        (packets.dropped, packets.leaked),
        (0, 0),
        "{:?}",
        packets.leaks
    );
    let servers = [9, 10].map(|offset| IpAddr::from(world_address(offset).0));
    // The session, and the questions of the node itself for the server's name.
    let is_session = |one: &Unowned| {
        let is_either = servers.contains(&one.destination) || one.port == 53;
        one.node == HOLDER && one.protocol == "udp" && is_either
    };
    let other = packets.unowned.iter().filter(|one| !is_session(one));
    assert_eq!(other.count(), 0, "{:?}", packets.unowned);
}

/// Files below a folder that contain one of these texts.
fn files_with(folder: &Path, texts: &[String], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            files_with(&path, texts, found);
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            if texts.iter().any(|text| content.contains(text)) {
                found.push(path);
            }
        }
    }
}

#[test]
fn pods_of_all_nodes_leave_by_the_server_alone_while_it_stops_comes_back_and_moves() {
    let (lab, keys) = (lab(), Keys::new());
    lab.start_wireguard(&keys.server()).unwrap();
    let free = serving(&lab, "default/free", PodOptions::on(HOLDER));
    let secret = secret(&keys, &keys.client.private_key);
    lab.apply_yaml(&(secret + &external(&keys, &BOTH) + &policy("vpn", "")))
        .unwrap();
    let selected = |node: &str, name: &str| {
        let pod = PodOptions::on(node).label("app", "crawler");
        lab.sender(&format!("crawlers/{name}"), pod).unwrap()
    };
    let senders = [selected("n1", "far"), selected(HOLDER, "near")];
    let by_the_server = |since: Timestamp| {
        for sender in &senders {
            leaves_by_the_server(sender, since);
        }
    };
    for node in ["n1", HOLDER] {
        lab.await_state(node, "vpn", "Enforcing", Timestamp::MIN)
            .unwrap();
    }
    by_the_server(Timestamp::now());
    await_condition(&lab, "Ready", "True Ready");

    // An unselected pod of the holder leaves as before.
    let to = std::net::SocketAddr::new(free.world[0], 7);
    let own = lab.node(HOLDER).unwrap().ipv4().to_string();
    let asked = ask(&lab, Exec::Pod("default/free"), to, &["--protocol", "tcp"]);
    assert_eq!(asked, Some(own));

    let stopped = Timestamp::now();
    lab.kill(WIREGUARD).unwrap();
    await_condition(&lab, "Ready", "False ExitLost");
    let sent: u64 = senders.iter().map(|one| one.attempted_since(stopped)).sum();
    assert!(sent > 0, "the pods went on sending");
    nothing_leaked(&lab);
    lab.start_wireguard(&keys.server()).unwrap();
    by_the_server(Timestamp::now());
    await_condition(&lab, "Ready", "True Ready");

    // The server moves: at its old address nothing answers any more, and its name leads to the new one.
    let (old, _) = world_address(9);
    let rules = format!(
        "table inet moved {{ chain input {{ type filter hook prerouting priority -300; \
         ip daddr {old} udp dport {PORT} drop; }}; }}"
    );
    lab.exec_ok(Exec::World, &["nft", &rules]).unwrap();
    let moved = world_address(10).0;
    answers_from(&lab, moved.into());
    name_leads_to(&lab, moved.into());
    let server = format!("{moved}:{PORT}");
    lab.await_report_for(FOUND, HOLDER, "the server at its new address", |report| {
        report["served"][0]["server"] == server.as_str()
    })
    .unwrap();
    by_the_server(Timestamp::now());

    // A name that resolves no more keeps the last address.
    fs::write(hosts(&lab), "127.0.0.1 localhost\n").unwrap();
    lab.kill(WIREGUARD).unwrap();
    await_condition(&lab, "Ready", "False ExitLost");
    lab.start_wireguard(&keys.server()).unwrap();
    by_the_server(Timestamp::now());
    nothing_leaked(&lab);
}

#[test]
fn a_credential_that_is_missing_malformed_or_wrong_is_said_and_lets_nothing_out() {
    let (lab, keys) = (lab(), Keys::new());
    lab.start_wireguard(&keys.server()).unwrap();
    lab.apply_yaml(&(external(&keys, &BOTH[..1]) + &policy("vpn", "")))
        .unwrap();
    // A pod that starts before its node knows the policy would leave as any other one.
    lab.await_report("n1", "the policy's namespace", |report| {
        report["guardedNamespaces"][0] == "crawlers"
    })
    .unwrap();
    let pod = PodOptions::on("n1").label("app", "crawler");
    let sender = lab.sender("crawlers/crawler", pod).unwrap();
    await_condition(&lab, "ResolvedRefs", "False CredentialMissing");
    let good = secret(&keys, &keys.client.private_key);
    let malformed = good.replace("privateKey: ", "privateKey: x");
    lab.apply_yaml(&malformed).unwrap();
    await_condition(&lab, "ResolvedRefs", "False CredentialMalformed");
    lab.apply_yaml(&secret(&keys, &SecretBytes::new([0x5d; 32])))
        .unwrap();
    await_condition(&lab, "Ready", "False ExitLost");
    assert_eq!(
        sender
            .total()
            .values()
            .map(|tally| tally.received)
            .sum::<u64>(),
        0
    );
    nothing_leaked(&lab);

    lab.apply_yaml(&good).unwrap();
    let since = Timestamp::now();
    let of_four: Vec<&str> = FLOWS
        .into_iter()
        .filter(|flow| flow.ends_with('4'))
        .collect();
    sender.await_answers(&of_four, since, FOUND).unwrap();
    // The server gave no address of IPv6.
    await_condition(&lab, "Ready", "True FamilyBlocked");
    let sums = sender.since(since);
    let six = sums.iter().filter(|(flow, _)| flow.ends_with('6'));
    assert_eq!(six.map(|(_, tally)| tally.received).sum::<u64>(), 0);

    // Neither a file of the lab nor a log, an intent or a report has the keys: only the Secret.
    let mut secrets = vec![&keys.client.private_key];
    secrets.extend(&keys.client.preshared_key);
    let texts = secrets.into_iter().flat_map(|key| {
        let bytes = key.expose();
        [STANDARD.encode(bytes), hex(bytes), format!("{bytes:?}")]
    });
    let mut found = Vec::new();
    files_with(lab.dir(), &texts.collect::<Vec<_>>(), &mut found);
    let names = found
        .iter()
        .map(|path| path.strip_prefix(lab.dir()).unwrap());
    let names: Vec<String> = names.map(|path| path.display().to_string()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("manifests/"), "{names:?}");
    nothing_leaked(&lab);
    lab.stop(&format!("agent-{HOLDER}")).unwrap();
    wait_until(WAIT_DEADLINE, "the end of the agent", || {
        Ok((!lab.runs(&format!("agent-{HOLDER}"))?).then_some(()))
    })
    .unwrap();
}
