//! Frames by which a pod could draw its neighbour's packets to its own port: a bridge learns a MAC address from whatever
//! carries it, and a node takes the word of an announcement.

use std::net::{IpAddr, SocketAddr};

use postern_e2e::lab::{Exec, PodOptions, PodRecord};
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};

use crate::holes::{NODE, Stage, WEB, lab_program, serving};

const NEAR: Exec<'static> = Exec::Pod("default/near");

/// A selected pod that forges and its released neighbour, on one bridge.
struct Bridge {
    stage: Stage,
    near: PodRecord,
    /// MAC address and port of each.
    near_at: (String, String),
    web_at: (String, String),
}

impl Bridge {
    fn up() -> Self {
        let stage = Stage::up("s", 2);
        let near = serving(&stage.lab, "default/near", PodOptions::on(NODE));
        let bindings = stage.lab.node_dir(NODE).join("state/bindings.json");
        let at = |name: &str| {
            let found = stage.shell(&format!(
                "jq -r '.byContainer[] | select(.name == \"{name}\") | .mac, .hostInterface' {}",
                bindings.display()
            ));
            let (mac, port) = found.trim().split_once('\n').unwrap();
            (mac.to_owned(), port.to_owned())
        };
        let (near_at, web_at) = (at("near"), at("web"));
        Self {
            stage,
            near,
            near_at,
            web_at,
        }
    }

    fn forge(&self, who: Exec<'_>, arguments: &str) {
        let program = lab_program();
        let words = [program.as_str(), "forge"].into_iter();
        let words: Vec<&str> = words.chain(arguments.split_whitespace()).collect();
        self.stage.lab.exec_ok(who, &words).unwrap();
        self.stage.settle();
    }

    /// The port behind which the bridge looks for the neighbour.
    fn learned(&self) -> String {
        let mac = &self.near_at.0;
        let line = format!("bridge fdb show br cni0 | awk '$1 == \"{mac}\" {{ print $3; exit }}'");
        self.stage.shell(&line).trim().to_owned()
    }

    /// The MAC address that the node sends to for one of the neighbour's addresses.
    fn resolved(&self, address: IpAddr) -> String {
        let line = format!("ip -j neigh show {address} dev cni0 | jq -r '.[0].lladdr'");
        self.stage.shell(&line).trim().to_owned()
    }

    /// The neighbour asks the world in both families, so that its own frames are the last word, and is answered.
    fn neighbour_is_answered(&self, after: &str) {
        for to in &self.near.world[..2] {
            let what = format!("an answer to the neighbour after {after}");
            wait_until(WAIT_DEADLINE, &what, || {
                Ok(self
                    .stage
                    .ask(NEAR, SocketAddr::new(*to, 7), "tcp")
                    .map(drop))
            })
            .unwrap();
        }
        assert_eq!(self.learned(), self.near_at.1, "{after}");
        for address in &self.near.addresses {
            assert_eq!(self.resolved(*address), self.near_at.0, "{after}");
        }
    }

    /// How many frames the rules of the bindings have dropped.
    fn dropped(&self) -> u64 {
        let line = "nft list counters table bridge postern | awk '/packets/ { sum += $2 } END { print sum }'";
        self.stage.shell(line).trim().parse().unwrap()
    }

    /// What a pod may send with its neighbour's MAC address.
    fn frames(&self) -> Vec<(&'static str, String)> {
        let [four, six] = [self.near.addresses[0], self.near.addresses[1]];
        let (mac, own) = (&self.near_at.0, self.stage.web.addresses[0]);
        let everybody = format!("frame --device eth0 --from-mac {mac} --to-mac ff:ff:ff:ff:ff:ff");
        let sourceless = "--from 0.0.0.0:68 --to 255.255.255.255:67";
        vec![
            (
                "a packet without a source",
                format!("{everybody} {sourceless}"),
            ),
            (
                "a packet with the pod's own source",
                format!("{everybody} --from {own}:5000 --to 255.255.255.255:5000"),
            ),
            (
                "a link-local source",
                format!(
                    "frame --device eth0 --from-mac {mac} --to-mac 33:33:00:00:00:01 --from [fe80::1]:5000 --to [ff02::1]:5000"
                ),
            ),
            (
                "a priority tag",
                format!("{everybody} {sourceless} --vlan 0"),
            ),
            (
                "a VLAN",
                format!("{everybody} --from {own}:5000 --to 255.255.255.255:5000 --vlan 5"),
            ),
            (
                "a type of nobody",
                format!("{everybody} {sourceless} --ethertype 88b5"),
            ),
            (
                "gratuitous ARP",
                format!("announce {four} --device eth0 --from-mac {mac}"),
            ),
            (
                "an unsolicited advertisement",
                format!("announce {six} --device eth0 --from-mac {mac}"),
            ),
        ]
    }

    /// Drops such frames whoever sends them by whatever port, and the bridge learns nothing.
    fn learns_nothing(&self, who: Exec<'_>, what: &str, frame: &str) {
        let before = self.dropped();
        self.forge(who, frame);
        assert_eq!(self.learned(), self.near_at.1, "{what}");
        assert!(self.dropped() > before, "{what} is counted");
        self.neighbour_is_answered(what);
    }

    /// Without the rules the bridge learns from the same frame that the neighbour is behind this port.
    fn learns(&self, who: Exec<'_>, what: &str, frame: &str, port: &str) {
        let moved = wait_until(WAIT_DEADLINE, what, || {
            self.forge(who, frame);
            Ok((self.learned() == port).then_some(()))
        });
        assert!(moved.is_ok(), "without the rules the bridge learns: {what}");
        self.neighbour_is_answered(what);
    }
}

/// The other end of a port that no pod is bound to, as of a pod that ran before the plugin came.
const LOOSE: &str = "loose";

#[test]
fn hole_s_no_frame_with_a_neighbours_mac_and_no_announcement_draws_its_packets() {
    let bridge = Bridge::up();
    bridge.stage.shell(&format!(
        "ip link add {LOOSE} type veth peer name {LOOSE}0; ip link set {LOOSE} master cni0 up; ip link set {LOOSE}0 up arp off"
    ));
    bridge.neighbour_is_answered("nothing");
    let frames = bridge.frames();
    // One of each kind that the rules look at: IP, a type of nobody, ARP.
    let by_loose: Vec<(&str, String)> = [0, 5, 6]
        .map(|index: usize| {
            let (what, frame) = &frames[index];
            (*what, frame.replace("eth0", &format!("{LOOSE}0")))
        })
        .into();
    let announcements: Vec<(IpAddr, String)> = bridge
        .near
        .addresses
        .iter()
        .map(|address| (*address, format!("announce {address} --device eth0")))
        .collect();
    for (what, frame) in &frames {
        bridge.learns_nothing(WEB, what, frame);
    }
    for (what, frame) in &by_loose {
        bridge.learns_nothing(Exec::Node(NODE), what, frame);
    }
    for (address, announcement) in &announcements {
        let before = bridge.dropped();
        bridge.forge(WEB, announcement);
        assert_eq!(bridge.resolved(*address), bridge.near_at.0, "{address}");
        assert!(bridge.dropped() > before, "{address} is counted");
        bridge.neighbour_is_answered("an announcement");
    }

    bridge.stage.kill_agent();
    bridge.stage.shell("nft flush chain bridge postern origin");
    for (what, frame) in &frames {
        bridge.learns(WEB, what, frame, &bridge.web_at.1);
    }
    for (what, frame) in &by_loose {
        bridge.learns(Exec::Node(NODE), what, frame, LOOSE);
    }
    for (address, announcement) in &announcements {
        let moved = wait_until(WAIT_DEADLINE, "an announcement that is believed", || {
            bridge.forge(WEB, announcement);
            Ok((bridge.resolved(*address) == bridge.web_at.0).then_some(()))
        });
        assert!(
            moved.is_ok(),
            "without the rules the node believes: {address}"
        );
    }
}
