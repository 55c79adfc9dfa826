//! A node with two uplinks, every event of its links as the kernel sends it, and the packets that the second uplink carries, counted
//! on the other side.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use postern_e2e::lab::UpOptions;
use postern_e2e::lab::sandbox::netns::Namespace;
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, wait_until};
use serde_json::Value;

pub(super) const NODE: &str = "n1";
/// The port of the second uplink, in the LAN's namespace.
const PORT: &str = "n1second";

/// A lab whose node `n1` has a second uplink, `eth1`, into the same LAN.
pub(super) struct TwoUplinks {
    /// It ends before the lab, which leaves no process behind.
    monitor: LinkMonitor,
    pub(super) lab: TestLab,
}

/// What changed about a link: whether it is up, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkEvent {
    pub(super) at: Timestamp,
    pub(super) link: String,
    pub(super) up: bool,
}

/// `ip monitor`: each event of the kernel, none sampled.
pub(super) struct LinkMonitor {
    child: Child,
    file: PathBuf,
}

impl LinkMonitor {
    pub(super) fn start(namespace: &Namespace, file: PathBuf) -> Self {
        let out = std::fs::File::create(&file).unwrap();
        let lost = std::fs::File::create(file.with_extension("lost")).unwrap();
        let child = namespace
            .command("ip")
            .args(["-ts", "-o", "monitor", "link"])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(lost)
            .spawn()
            .unwrap();
        Self { child, file }
    }

    /// Events of uplinks, in the order of the kernel. `ip` says it where the kernel had no room for some.
    pub(super) fn events(&self) -> Vec<LinkEvent> {
        let lost = std::fs::read_to_string(self.file.with_extension("lost")).unwrap();
        assert_eq!(lost, "", "events were lost");
        let text = std::fs::read_to_string(&self.file).unwrap();
        text.lines().filter_map(event).collect()
    }
}

impl Drop for LinkMonitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in the namespaces of the node that goes on beside the test.
pub(super) fn command(lab: &TestLab, program: &[&str]) -> Command {
    let mut command = lab.node_namespace(NODE).command(program[0]);
    command
        .args(&program[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

impl TwoUplinks {
    pub(super) fn up() -> Self {
        let lab = TestLab::up(&UpOptions {
            nodes: 2,
            ..UpOptions::default()
        })
        .unwrap();
        let node = lab.node_namespace(NODE);
        let lan = lab.namespace("lan");
        lan.ip(&format!(
            "link add name {PORT} type veth peer name eth1 netns {}\nlink set {PORT} master br0\nlink set {PORT} up\n",
            node.path().display()
        ))
        .unwrap();
        lan.nft(&format!(
            "table netdev second {{ counter seen {{}}; chain c {{ type filter hook ingress device {PORT} priority 0; \
             meta protocol {{ip, ip6}} counter name seen; }}; }}"
        ))
        .unwrap();
        node.sysctl(&[
            ("net/ipv6/conf/eth1/accept_dad", "0"),
            ("net/ipv6/conf/eth1/accept_ra", "0"),
        ])
        .unwrap();
        node.ip(
            "link set eth1 up\naddr add 192.168.10.211/24 dev eth1\naddr add 2001:db8:10::211/64 dev eth1 nodad\n\
             route add 198.51.100.0/24 via 192.168.10.1 dev eth1\nroute add 2001:db8:bbbb::/48 via 2001:db8:10::1 dev eth1\n",
        )
        .unwrap();
        let monitor = LinkMonitor::start(&node, lab.dir().join("run/links.txt"));
        let this = Self { lab, monitor };
        // The monitor is there once it sees an event that changes nothing.
        wait_until(WAIT_DEADLINE, "an event of a link", || {
            this.ip("link set eth1 txqueuelen 1001\nlink set eth1 txqueuelen 1000\n");
            Ok((!this.events().is_empty()).then_some(()))
        })
        .unwrap();
        this
    }

    pub(super) fn ip(&self, lines: &str) {
        self.lab.node_namespace(NODE).ip(lines).unwrap();
    }

    /// Events of the two uplinks, in the order of the kernel.
    pub(super) fn events(&self) -> Vec<LinkEvent> {
        self.monitor.events()
    }

    /// Packets of both families that came out of the second uplink.
    pub(super) fn packets(&self) -> u64 {
        let shown = self
            .lab
            .namespace("lan")
            .command("nft")
            .args(["-j", "list", "counter", "netdev", "second", "seen"])
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let objects = shown["nftables"].as_array().unwrap();
        let mut counters = objects.iter().filter_map(|one| one.get("counter"));
        counters.next().unwrap()["packets"].as_u64().unwrap()
    }

    /// The carrier of the second uplink goes or comes, as at the switch.
    pub(super) fn plug(&self, port: &str, state: &str) {
        let line = format!("link set {port} {state}\n");
        self.lab.namespace("lan").ip(&line).unwrap();
    }

    /// What is behind the second uplink is cut off, while its carrier stays.
    pub(super) fn cut_second(&self) {
        let line = format!("link set {PORT} nomaster\n");
        self.lab.namespace("lan").ip(&line).unwrap();
    }

    pub(super) fn join_second(&self) {
        let line = format!("link set {PORT} master br0\n");
        self.lab.namespace("lan").ip(&line).unwrap();
    }

    /// Waits for a state of the isolation in the node's report, of the section in force.
    pub(super) fn await_state(&self, state: &str, uplink: &str) -> Value {
        let what = format!("{state} with {uplink}");
        self.lab
            .await_report(NODE, &what, |report| {
                let isolation = &report["isolation"];
                isolation["state"] == state
                    && (uplink.is_empty() || isolation["uplinks"] == serde_json::json!([uplink]))
            })
            .unwrap()["isolation"]
            .clone()
    }

    /// Links of the two that are up now.
    pub(super) fn links_up(&self) -> BTreeSet<String> {
        let shown = self.lab.shell(NODE, "ip -o link show up").unwrap();
        let names = shown.lines().filter_map(|line| line.split(": ").nth(1));
        let names = names.filter_map(|name| name.split('@').next());
        names
            .filter(|name| name.starts_with("eth"))
            .map(str::to_owned)
            .collect()
    }

    /// Routes and addresses of the two, as `ip` shows them.
    pub(super) fn configuration(&self) -> Vec<String> {
        let shown = self
            .lab
            .shell(
                NODE,
                "for f in -4 -6; do ip $f route show; ip $f -o address show scope global; done",
            )
            .unwrap();
        let of_uplinks = shown.lines().filter(|line| line.contains("eth"));
        // A life time counts down, and a number changes with each device.
        let mut lines: Vec<String> = of_uplinks
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .map(|line| {
                line.split_once(": ")
                    .map_or(line.clone(), |(_, rest)| rest.to_owned())
            })
            .map(|line| line.replace(" nodad", ""))
            .collect();
        lines.sort();
        lines
    }
}

fn event(line: &str) -> Option<LinkEvent> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    let mut fields = rest.split(": ").skip(1);
    let link = fields.next()?.split('@').next()?.to_owned();
    let flags = fields.next()?.strip_prefix('<')?.split_once('>')?.0;
    let at = format!("{time}Z").parse().ok()?;
    ["eth0", "eth1", "wlan0"]
        .contains(&link.as_str())
        .then(|| LinkEvent {
            at,
            link,
            up: flags.split(',').any(|flag| flag == "UP"),
        })
}

/// The first event after which both uplinks are up, once one of them was down.
pub(super) fn overlap(events: &[LinkEvent]) -> Option<LinkEvent> {
    let mut up = BTreeSet::from(["eth0", "eth1"]);
    let mut isolated = false;
    for event in events {
        match event.up {
            true => up.insert(&event.link),
            false => up.remove(event.link.as_str()),
        };
        isolated |= up.len() < 2;
        if isolated && up.len() > 1 {
            return Some(event.clone());
        }
    }
    None
}

/// An isolation of every node.
pub(super) fn isolation(preferred: &str, more: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1\nkind: InterfaceIsolation\nmetadata: {{name: one}}\nspec:\n  nodeSelector: {{}}\n  \
         preferred: {preferred}\n  {more}\n---\n"
    )
}
