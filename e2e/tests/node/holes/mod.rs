//! What the cases of the holes share: a stage with a selected pod, meters, and forged packets. A meter reads nft
//! counters, which count in the packet's own path, and never a capture.

mod talk;

pub(crate) use talk::Talk;

use std::net::{IpAddr, SocketAddr};

use postern_e2e::lab::sandbox::netns::Namespace;
use postern_e2e::lab::topology::world_address;
use postern_e2e::lab::{Binaries, Exec, PodOptions, PodRecord, TrafficPolicy, UpOptions};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, exit, policy, record_run, wait_until};
use postern_e2e::proof::monitor::{SetKey, read_set};
use postern_intent::body::Cluster;
use serde_json::{Value, json};

pub(crate) const WEB: Exec<'static> = Exec::Pod("crawlers/web");
/// The node of the selected pod.
pub(crate) const NODE: &str = "n1";
const FAR: &str = "default/far";

/// A lab with a pod on `n1` that `crawlers/crawler` sends out by `eu`, and an unselected one on `gw-1`; both
/// answer on port 7.
pub(crate) struct Stage {
    pub(crate) lab: TestLab,
    pub(crate) web: PodRecord,
    pub(crate) far: PodRecord,
    hole: &'static str,
    rows: Vec<Value>,
}

/// Answers how many packets have passed so far, IPv4 first.
pub(crate) type Meter<'a> = &'a dyn Fn(&TestLab) -> [u64; 2];

impl Stage {
    /// The stage with so many nodes, once the pod's packets leave by the gateway in both families.
    pub(crate) fn up(hole: &'static str, nodes: u8) -> Self {
        let lab = lab(nodes, 1);
        let sources = lab.node("gw-1").unwrap().addresses();
        Self::of(hole, lab, "", sources)
    }

    /// The same with an exit that has addresses of its own, which are on the gateway's uplink already.
    pub(crate) fn with_egress(hole: &'static str, egress: [&str; 2]) -> Self {
        let lab = lab(2, 1);
        let [four, six] = egress;
        // Deprecated, so that the node's own packets keep its own IPv6 address (RFC 6724, section 5, rule 3).
        let line = format!(
            "ip addr add {four}/24 dev eth0; ip addr add {six}/64 dev eth0 nodad preferred_lft 0"
        );
        lab.shell("gw-1", &line).unwrap();
        let sources = egress.map(|address| address.parse().unwrap());
        Self::of(
            hole,
            lab,
            &format!("egressIPs: [\"{four}\", \"{six}\"]"),
            sources,
        )
    }

    /// The stage in a lab of one's own: an exit with these further lines, whose packets have these sources.
    pub(crate) fn of(
        hole: &'static str,
        lab: TestLab,
        further: &str,
        sources: [IpAddr; 2],
    ) -> Self {
        lab.apply_yaml(&(exit("eu", "gw-1", further) + &policy("eu", "")))
            .unwrap();
        let web = serving(&lab, "crawlers/web", PodOptions::on(NODE));
        let far = serving(&lab, FAR, PodOptions::on("gw-1"));
        let rows = Vec::new();
        let stage = Self {
            lab,
            web,
            far,
            hole,
            rows,
        };
        stage.await_source(WEB, stage.worlds(7), sources);
        stage
    }

    /// Waits until the world sees these sources.
    pub(crate) fn await_source(
        &self,
        who: Exec<'_>,
        worlds: [SocketAddr; 2],
        sources: [IpAddr; 2],
    ) {
        for (to, source) in worlds.into_iter().zip(sources) {
            wait_until(WAIT_DEADLINE, &format!("an answer to {source}"), || {
                Ok((self.ask(who, to, "tcp") == Some(source.to_string())).then_some(()))
            })
            .unwrap();
        }
    }

    /// The world addresses that are the selected pod's own, IPv4 first.
    pub(crate) fn worlds(&self, port: u16) -> [SocketAddr; 2] {
        [0, 1].map(|family| SocketAddr::new(self.web.world[family], port))
    }

    /// The addresses of a node, IPv4 first.
    pub(crate) fn addresses(&self, node: &str) -> [IpAddr; 2] {
        self.lab.node(node).unwrap().addresses()
    }

    /// The addresses of the tunnel that the pod's node uses, IPv4 first.
    pub(crate) fn tunnel(&self) -> Vec<IpAddr> {
        let body = self.lab.current_body(NODE).unwrap();
        let mut all: Vec<IpAddr> = body.tunnels[0]
            .addresses
            .iter()
            .map(ipnet::IpNet::addr)
            .collect();
        all.sort();
        all
    }

    /// Waits until the report of the selected pod's node covers a NodePort.
    pub(crate) fn await_node_port(&self, port: u16) {
        self.await_cluster(&format!("NodePort {port}"), |cluster| {
            let mut spans = cluster.node_ports.iter();
            spans.any(|span| (span.from..=span.to).contains(&port))
        });
    }

    /// Waits until the report of the selected pod's node covers a cluster document that has this.
    pub(crate) fn await_cluster(&self, what: &str, has: impl Fn(&Cluster) -> bool) {
        let serial = wait_until(WAIT_DEADLINE, &format!("a document with {what}"), || {
            let document = self.lab.current_cluster(NODE)?;
            Ok(has(&document.cluster).then_some(document.serial))
        });
        let serial = serial.unwrap();
        let what = format!("the document with {what} in force");
        self.lab
            .await_report(NODE, &what, |report| {
                report["appliedClusterSerial"] == json!(serial)
            })
            .unwrap();
    }

    /// Gives the policy these further lines and waits until the selected pod's node has them in force.
    pub(crate) fn policy(&self, further: &str) {
        let former = self.lab.current_envelope(NODE).unwrap().digest().unwrap();
        self.lab.apply_yaml(&policy("eu", further)).unwrap();
        let digest = wait_until(WAIT_DEADLINE, "an intent with the change", || {
            let digest = self.lab.current_envelope(NODE)?.digest().ok();
            Ok(digest.filter(|digest| *digest != former))
        });
        let digest = digest.unwrap();
        self.lab
            .await_report(NODE, "the changed policy in force", |report| {
                report["appliedDigest"] == json!(digest)
            })
            .unwrap();
    }

    /// Asks once; what the other side saw, or nothing.
    pub(crate) fn ask(&self, who: Exec<'_>, to: SocketAddr, protocol: &str) -> Option<String> {
        ask(&self.lab, who, to, &["--protocol", protocol])
    }

    /// Asks the pod's own world addresses by both protocols, and does not mind the answer.
    pub(crate) fn ask_world(&self) {
        for to in self.worlds(7) {
            for protocol in ["udp", "tcp"] {
                let _ = self.ask(WEB, to, protocol);
            }
        }
    }

    /// Five UDP packets with this source.
    pub(crate) fn forge_udp(&self, who: Exec<'_>, from: SocketAddr, to: SocketAddr) {
        self.forge(who, "udp", from, to, &[]);
    }

    /// Five packets of a kind with this source.
    pub(crate) fn forge(
        &self,
        who: Exec<'_>,
        kind: &str,
        from: SocketAddr,
        to: SocketAddr,
        more: &[&str],
    ) {
        let (from, to) = (from.to_string(), to.to_string());
        let program = lab_program();
        let mut args = vec![&program, "forge", kind, "--from", &from, "--to", &to];
        args.extend(more);
        self.lab.exec_ok(who, &args).unwrap();
    }

    /// Makes a service on a port of every node for each of these endpoints.
    pub(crate) fn node_port(&self, port: u16, to: [SocketAddr; 2], policy: TrafficPolicy) {
        for to in to {
            let name = format!("port-{port}-{}", if to.is_ipv4() { 4 } else { 6 });
            let end = (to.ip(), to.port());
            self.lab
                .create_service(&name, None, port, end, policy)
                .unwrap();
        }
    }

    /// Runs a line of shell on the pod's node.
    pub(crate) fn shell(&self, line: &str) -> String {
        self.lab.shell(NODE, line).unwrap()
    }

    /// Stops all repair; what is in the kernel stays.
    pub(crate) fn kill_agent(&self) {
        self.lab.kill(&format!("agent-{NODE}")).unwrap();
    }

    /// Takes out the rules of a chain that contain this text; there must be some.
    pub(crate) fn take_out(&self, chain: &str, text: &str) {
        let listing = self.shell(&format!("nft -a list chain inet postern {chain}"));
        let handles: Vec<&str> = listing
            .lines()
            .filter(|line| line.contains(text))
            .filter_map(|line| line.rsplit_once("# handle ").map(|(_, handle)| handle))
            .collect();
        assert!(!handles.is_empty(), "{text}: {listing}");
        for handle in handles {
            self.shell(&format!(
                "nft delete rule inet postern {chain} handle {handle}"
            ));
        }
    }

    /// With this taken out, or with everything in place, the act moves the meter by nothing. A question to a pod on
    /// another node goes the same way afterwards: after its answer, all earlier packets have been judged.
    pub(crate) fn shut(&mut self, out: &str, meter: Meter<'_>, act: &dyn Fn(&Self)) {
        let before = meter(&self.lab);
        act(self);
        self.settle();
        let passed = since(before, meter(&self.lab));
        self.row(out, passed);
        assert_eq!(passed, [0, 0], "hole {}, out: {out}", self.hole);
    }

    /// With all of this taken out the act moves the meter, in both families.
    pub(crate) fn open(&mut self, out: &str, meter: Meter<'_>, act: &dyn Fn(&Self)) {
        self.open_in(&[0, 1], out, meter, act);
    }

    /// The same in some families.
    pub(crate) fn open_in(
        &mut self,
        families: &[usize],
        out: &str,
        meter: Meter<'_>,
        act: &dyn Fn(&Self),
    ) {
        let before = meter(&self.lab);
        act(self);
        let passed = wait_until(
            WAIT_DEADLINE,
            "packets of each family through the open hole",
            || {
                let passed = since(before, meter(&self.lab));
                let through = families.iter().all(|family| passed[*family] > 0);
                Ok(through.then_some(passed))
            },
        );
        let seen = since(before, meter(&self.lab));
        assert!(passed.is_ok(), "hole {}, out: {out}: {seen:?}", self.hole);
        self.row(out, seen);
    }

    /// Writes what was counted.
    pub(crate) fn finish(self) {
        record_run(&format!("hole-{}", self.hole), &self.rows).unwrap();
    }

    /// What the pod sent before has been judged once a question to a pod on another node is answered.
    pub(crate) fn settle(&self) {
        for address in &self.far.addresses {
            let to = SocketAddr::new(*address, 7);
            wait_until(WAIT_DEADLINE, "an answer of a pod on another node", || {
                Ok(self.ask(WEB, to, "udp").map(drop))
            })
            .unwrap();
        }
    }

    fn row(&mut self, out: &str, passed: [u64; 2]) {
        let row = json!({"hole": self.hole, "out": out, "packets": passed});
        println!("{row}");
        self.rows.push(row);
    }
}

/// A lab of so many nodes, so many of them gateways.
pub(crate) fn lab(nodes: u8, gateways: u8) -> TestLab {
    let options = UpOptions {
        nodes,
        gateways,
        ..UpOptions::default()
    };
    TestLab::up(&options).unwrap()
}

/// An address of each family with a port.
pub(crate) fn both(addresses: &[IpAddr], port: u16) -> [SocketAddr; 2] {
    [0, 1].map(|family| SocketAddr::new(addresses[family], port))
}

/// A pod that answers on port 7 and that the policy would select.
pub(crate) fn serving(lab: &TestLab, name: &str, options: PodOptions) -> PodRecord {
    let dir = lab.dir().display().to_string();
    let command = [lab_program(), "--dir".to_owned(), dir];
    let command = command
        .into_iter()
        .chain(["run", "world"].map(String::from));
    let options = options.label("app", "crawler").command(command);
    lab.pod_on(name, &options).unwrap()
}

pub(crate) fn lab_program() -> String {
    Binaries::locate().unwrap().lab().display().to_string()
}

/// Gives a pod an interface on the LAN beside its own, by which it reaches the world's IPv4 addresses.
pub(crate) fn second_interface(lab: &TestLab, pod: &PodRecord) {
    let inside = lab.namespace(&pod.sandbox());
    let peer = inside.path().display().to_string();
    lab.namespace("lan")
        .ip(&format!(
            "link add name extra type veth peer name net1 netns {peer}\nlink set extra master br0 up\n"
        ))
        .unwrap();
    inside
        .ip(
            "link set net1 up\naddr add 192.168.10.99/24 dev net1\nroute add 203.0.112.0/20 via 192.168.10.1\n",
        )
        .unwrap();
}

/// Asks once; what the other side saw, or nothing.
pub(crate) fn ask(lab: &TestLab, who: Exec<'_>, to: SocketAddr, more: &[&str]) -> Option<String> {
    let (program, to) = (lab_program(), to.to_string());
    let mut args = vec![&program, "probe", &to, "--timeout", "500ms"];
    args.extend(more);
    let output = lab.exec(who, &args).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// A world address that is no pod's own.
pub(crate) fn nobody(offset: u32) -> [IpAddr; 2] {
    let (four, six) = world_address(offset);
    [four.into(), six.into()]
}

fn since(before: [u64; 2], now: [u64; 2]) -> [u64; 2] {
    [now[0] - before[0], now[1] - before[1]]
}

/// Packets on the LAN that fit.
pub(crate) fn sent(lab: &TestLab, fits: impl Fn(&SetKey) -> bool) -> [u64; 2] {
    let mut sums = [0, 0];
    for (key, packets) in read_set(lab).unwrap() {
        if fits(&key) {
            sums[usize::from(key.destination.is_ipv6())] += packets;
        }
    }
    sums
}

/// The counters `four` and `six` of a table `inet probe` there.
pub(crate) fn probed(lab: &TestLab, who: Exec<'_>) -> [u64; 2] {
    ["four", "six"].map(|name| {
        let list = ["nft", "list", "counter", "inet", "probe", name];
        let listing = lab.exec_ok(who, &list).unwrap();
        let (_, after) = listing.split_once("packets ").unwrap();
        after.split_whitespace().next().unwrap().parse().unwrap()
    })
}

/// Makes a table `inet probe` there that counts what matches in a hook, IPv4 and IPv6.
pub(crate) fn probe(place: &Namespace, hook: &str, matches: [String; 2]) {
    let [four, six] = matches;
    let table = format!(
        "table inet probe {{ counter four {{ }}; counter six {{ }}; chain seen {{ type filter hook {hook}; \
         {four} counter name four; {six} counter name six; }}; }}\n"
    );
    place.nft(&table).unwrap();
}
