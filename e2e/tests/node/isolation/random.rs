//! Random switches, failures, cancellations, deaths of the agent and hotspots, with every event of the kernel recorded.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_agent::isolation::{IsolationOrder, UplinkOrder};
use postern_crds::node_report::IsolationState;
use postern_e2e::LabError;
use postern_e2e::lab::sandbox::netns::Namespace;
use postern_intent::body::{Hotspot, Isolation, RadioRule, RemoteLinks};

use super::agent_task::AgentTask;
use super::uplinks::{LinkEvent, LinkMonitor};

const UPLINKS: [&str; 3] = ["eth0", "eth1", "wlan0"];
/// The access point of the hotspot and its upstream.
const PAIR: [&str; 2] = ["wlan0", "eth1"];
/// How long switches go on where `POSTERN_SWITCHES` gives no number of them.
const SHORT: Duration = Duration::from_secs(25);
/// What a turn is, by a number below it.
const KINDS: u64 = 12;
/// How long the links may take to follow an order that came late.
const REACTION: SignedDuration = SignedDuration::from_millis(500);
/// What answers before and after a switch.
const SERVER: &str = "192.0.2.9:6443";

/// Numbers that look like dice, by a seed that is printed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn uplink(&mut self) -> &'static str {
        UPLINKS[usize::try_from(self.below(3)).unwrap()]
    }

    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.below(40)));
    }
}

/// How often something was done.
#[derive(Debug, Default)]
struct SwitchCounts {
    deaths: u64,
    called_off: u64,
    hotspots: u64,
    failures: u64,
    rolled_back: u64,
}

/// A node with three uplinks into one LAN.
struct RandomScene {
    agent: Option<AgentTask>,
    monitor: LinkMonitor,
    node: Namespace,
    lan: Namespace,
    folder: tempfile::TempDir,
    order: IsolationOrder,
    number: u64,
    /// From the order of a hotspot until the links have followed the next one.
    pairs: Vec<(Timestamp, Option<Timestamp>)>,
    counts: SwitchCounts,
}

impl RandomScene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [node, lan] = ["node", "lan"].map(|name| Namespace::net(folder.path().join(name)));
        node.create().unwrap();
        lan.create().unwrap();
        lan.ip("link add name br0 type bridge\nlink set br0 up\naddr add 192.0.2.9/24 dev br0\n")
            .unwrap();
        for (number, name) in UPLINKS.iter().enumerate() {
            let path = node.path().display();
            lan.ip(&format!(
                "link add name port{number} type veth peer name {name} netns {path}\nlink set port{number} master br0\n\
                 link set port{number} up\n"
            ))
            .unwrap();
            node.ip(&format!(
                "link set {name} up\naddr add 192.0.2.1{number}/24 dev {name}\n"
            ))
            .unwrap();
        }
        let monitor = LinkMonitor::start(&node, folder.path().join("links.txt"));
        while monitor.events().is_empty() {
            node.ip("link set eth1 txqueuelen 1001\nlink set eth1 txqueuelen 1000\n")
                .unwrap();
        }
        Self {
            agent: Some(AgentTask::start(&node, folder.path())),
            monitor,
            order: IsolationOrder {
                isolation: section(),
                api_servers: BTreeSet::from([SERVER.parse().unwrap()]),
            },
            node,
            lan,
            folder,
            number: 0,
            pairs: Vec::new(),
            counts: SwitchCounts::default(),
        }
    }

    fn state_dir(&self) -> &Path {
        self.folder.path()
    }

    fn agent(&self) -> &AgentTask {
        self.agent.as_ref().unwrap()
    }

    fn order(&mut self, preferred: &str, hotspot: Option<Hotspot>) {
        self.number += 1;
        let now = Timestamp::now();
        if let Some((_, end @ None)) = self.pairs.last_mut() {
            *end = Some(now + REACTION);
        }
        if hotspot.is_some() {
            self.pairs.push((now, None));
        }
        self.order.isolation = Isolation {
            digest: format!("{:016x}", self.number).parse().unwrap(),
            preferred: vec![preferred.to_owned()],
            hotspot,
            ..section()
        };
        self.send();
    }

    fn send(&self) {
        let order = UplinkOrder::Isolate(Box::new(self.order.clone()));
        self.agent().order(order);
    }

    /// Waits until the node says that it has followed the order, or that the switch failed.
    fn rests(&mut self) {
        let begun = Instant::now();
        loop {
            let found = self.agent().found().reported;
            let digest = &self.order.isolation.digest;
            if let Some(found) = found.as_ref().filter(|found| found.digest == *digest) {
                match found.finding.state {
                    IsolationState::RolledBack => self.counts.rolled_back += 1,
                    IsolationState::Compliant => {}
                    _ if begun.elapsed() < Duration::from_secs(30) => {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    _ => panic!("{:?} after {:?}", found.finding, self.order),
                }
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{found:?} after {:?}",
                self.order
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn dies(&mut self) {
        self.agent.take().unwrap().dies();
        self.counts.deaths += 1;
        self.agent = Some(AgentTask::start(&self.node, self.state_dir()));
        self.send();
    }

    fn cut(&self, uplink: &str, line: &str) {
        let port = UPLINKS.iter().position(|name| *name == uplink).unwrap();
        self.lan
            .ip(&format!("link set port{port} {line}\n"))
            .unwrap();
    }

    fn turn(&mut self, kind: u64, dice: &mut Dice) {
        let uplink = dice.uplink();
        match kind {
            0..=4 => {
                self.order(uplink, None);
                self.rests();
            }
            5 | 6 => {
                let lasts = SignedDuration::from_millis(i64::try_from(dice.below(1500)).unwrap());
                let [access_point, upstream] = PAIR.map(|name| name.parse().unwrap());
                let hotspot = Hotspot {
                    access_point,
                    upstream,
                    not_after: Timestamp::now() + lasts,
                };
                self.order(uplink, Some(hotspot));
                self.counts.hotspots += 1;
                self.rests();
                dice.pause();
            }
            7 | 8 => {
                self.order(uplink, None);
                dice.pause();
                self.counts.called_off += 1;
            }
            9 | 10 => {
                self.order(uplink, None);
                dice.pause();
                self.dies();
                self.rests();
            }
            _ => {
                self.cut(uplink, "nomaster");
                self.order(uplink, None);
                self.rests();
                self.cut(uplink, "master br0");
                self.counts.failures += 1;
            }
        }
    }
}

impl Drop for RandomScene {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.dies();
        }
        let _ = self.node.delete();
        let _ = self.lan.delete();
    }
}

fn section() -> Isolation {
    Isolation {
        policy: "one".to_owned(),
        digest: "0000000000000000".parse().unwrap(),
        preferred: Vec::new(),
        exclude: Vec::new(),
        hotspot: None,
        radios: RadioRule::Ignored,
        confirm_within_seconds: 1,
        remote_links: RemoteLinks::Cut,
    }
}

/// How often a link came up, and how often the two of the hotspot were up; the first event with more up than that is a failure.
fn judge(events: &[LinkEvent], pairs: &[(Timestamp, Option<Timestamp>)]) -> (usize, usize) {
    let mut up = BTreeSet::from(UPLINKS);
    let (mut isolated, mut ups, mut both) = (false, 0, 0);
    for event in events {
        let name = UPLINKS
            .into_iter()
            .find(|name| *name == event.link)
            .unwrap();
        let changed = match event.up {
            true => up.insert(name),
            false => up.remove(name),
        };
        isolated |= up.len() < 2;
        if !isolated || !changed {
            continue;
        }
        ups += usize::from(event.up);
        if up.len() > 1 {
            let lasts = |(from, until): &(Timestamp, Option<Timestamp>)| {
                event.at >= *from && until.is_none_or(|until| event.at <= until)
            };
            let is_pair = up == BTreeSet::from(PAIR) && pairs.iter().any(lasts);
            assert!(is_pair, "{up:?} are up at {}: {events:?}", event.at);
            both += 1;
        }
    }
    (ups, both)
}

#[test]
fn no_event_of_the_kernel_shows_two_uplinks_up_through_random_switches_failures_deaths_and_hotspots()
 {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let wanted = number("POSTERN_SWITCHES");
    let seed = number("POSTERN_SEED")
        .unwrap_or_else(|| u64::try_from(Timestamp::now().as_millisecond()).unwrap());
    println!("POSTERN_SEED={seed}");
    let mut dice = Dice(seed);
    let mut scene = RandomScene::new();
    let server: SocketAddr = SERVER.parse().unwrap();
    let listens = || TcpListener::bind(server).map_err(LabError::file("bind", SERVER));
    let _listener = scene.lan.run(listens).unwrap();
    scene.order("eth0", None);
    scene.rests();
    let begun = Instant::now();
    let mut switches = 0;
    while wanted.map_or(begun.elapsed() < SHORT, |wanted| switches < wanted) {
        // Each kind once, and then as the dice say.
        let kind = match switches {
            ..KINDS => KINDS - 1 - switches,
            _ => dice.below(KINDS),
        };
        scene.turn(kind, &mut dice);
        switches += 1;
    }
    scene.order("eth0", None);
    scene.rests();
    // The monitor has written all once it has written this.
    let seen = scene.monitor.events().len();
    scene.node.ip("link set eth0 txqueuelen 1001\n").unwrap();
    while scene.monitor.events().len() == seen {
        std::thread::sleep(Duration::from_millis(10));
    }
    let events = scene.monitor.events();
    let (ups, both) = judge(&events, &scene.pairs);
    println!(
        "{switches} switches in {:?}, {} events: a link came up {ups} times, {both} with the pair; {:?}",
        begun.elapsed(),
        events.len(),
        scene.counts
    );
    assert!(ups > 0 && scene.counts.deaths > 0, "{:?}", scene.counts);
    if wanted.is_some() {
        assert!(
            both > 0 && scene.counts.rolled_back > 0,
            "{:?}",
            scene.counts
        );
    }
}
