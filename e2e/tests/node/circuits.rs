//! A resolver in the world that dies and comes back, with a policy that names it and another one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use postern_e2e::lab::Exec;
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};

use crate::holes::{WEB, lab_program};
use crate::terms::Scene;

const NODE: &str = "n1";
/// A question that waited for a dead resolver takes at least 2 s.
const FAST: Duration = Duration::from_millis(1500);
/// What clients wait by default (resolv.conf(5)).
const CLIENT: Duration = Duration::from_secs(5);

struct Resolvers {
    scene: Scene,
    dead: IpAddr,
    alive: IpAddr,
}

impl Resolvers {
    fn up() -> Self {
        let scene = Scene::up();
        let [dead, alive] = [scene.web.world[2], scene.web.world[3]];
        Self { scene, dead, alive }
    }

    /// The answer for a name, and how long it took.
    fn ask(&self) -> (String, Duration) {
        let (program, server) = (lab_program(), self.dead.to_string());
        let name = "a-203-0-113-9.world.test";
        let args = [
            &program,
            "resolve",
            "--timeout",
            "6s",
            "--server",
            &server,
            name,
        ];
        let began = Instant::now();
        let output = self.scene.lab.exec(WEB, &args).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (text, began.elapsed())
    }

    /// Asks for so long. Every answer is the wanted one; the times of all, the shortest first.
    fn ask_for(&self, period: Duration, wanted: &str) -> Vec<Duration> {
        let (began, mut times) = (Instant::now(), Vec::new());
        while began.elapsed() < period {
            let (answer, took) = self.ask();
            assert_eq!(answer, wanted, "after {took:?}");
            times.push(took);
        }
        times.sort();
        times
    }

    /// The world takes no packet for port 53 of the resolver, and counts those that come.
    fn kill(&self) {
        let family = if self.dead.is_ipv4() { "ip" } else { "ip6" };
        let rules = format!(
            "table inet dead {{ chain in {{ type filter hook prerouting priority -300; {family} daddr {} th dport 53 \
             counter drop; }}; }}",
            self.dead
        );
        let lab = &self.scene.lab;
        lab.exec_ok(Exec::World, &["nft", &rules]).unwrap();
    }

    fn revive(&self) {
        let lab = &self.scene.lab;
        lab.exec_ok(Exec::World, &["nft", "delete table inet dead"])
            .unwrap();
    }

    /// Packets that came to the dead resolver.
    fn arrived(&self) -> u64 {
        let list = ["nft", "list chain inet dead in"];
        let output = self.scene.lab.exec(Exec::World, &list).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, counted) = text.split_once("counter packets ").unwrap();
        counted.split(' ').next().unwrap().parse().unwrap()
    }

    fn state(&self) -> u64 {
        let name = format!(
            "postern_agent_dns_upstream_state{{exit=\"eu\",upstream=\"{}:53\"}}",
            self.dead
        );
        self.scene.lab.agent_metric(NODE, &name).unwrap()
    }

    /// Asks until the circuit has this state, and how long that took.
    fn until(&self, what: &str, state: u64) -> Duration {
        let began = Instant::now();
        wait_until(WAIT_DEADLINE, what, || {
            self.ask();
            Ok((self.state() == state).then_some(()))
        })
        .unwrap();
        began.elapsed()
    }

    /// Waits until the node reports these as silent, and no others.
    fn are_named(&self, wanted: &[IpAddr]) {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        self.scene
            .lab
            .await_report(NODE, "the silent resolvers", |report| {
                let silent = report["scopes"][0]["silentResolvers"].as_array();
                silent.map_or(&[][..], Vec::as_slice) == wanted
            })
            .unwrap();
    }
}

#[test]
fn a_dead_resolver_is_passed_over_and_named_and_asked_again_when_it_is_back() {
    let resolvers = Resolvers::up();
    let (dead, alive) = (resolvers.dead, resolvers.alive);
    let scene = &resolvers.scene;
    let wanted = "203.0.113.9";
    let policy = |list: &str| format!("defaultAction: Allow\n  dns: {{upstreams: [{list}]}}");
    scene.apply(&policy(&format!("'{dead}', '{alive}'")));
    scene.in_force();
    assert_eq!(resolvers.ask().0, wanted);
    assert_eq!(resolvers.state(), 0);

    resolvers.kill();
    let opened = resolvers.until("an open circuit", 2);
    resolvers.are_named(&[dead]);
    let before = resolvers.arrived();
    let times = resolvers.ask_for(Duration::from_secs(16), wanted);
    let sent = resolvers.arrived() - before;
    let slow = times.iter().filter(|took| **took > FAST).count();
    println!(
        "open after {opened:?}; then {} questions, median {:?}, slowest {:?}, {slow} waited; {sent} packets to the dead resolver",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
    assert!(times.len() > 10 && slow <= 4, "{times:?}");
    // Two for each trial, and the probes of the exit, which ask each resolver for the root every 5 s.
    assert!(sent <= 2 * 4 + 5, "{sent}");

    resolvers.revive();
    let closed = resolvers.until("a closed circuit", 0);
    println!("closed {closed:?} after it was back");
    assert!(closed < Duration::from_secs(10), "{closed:?}");
    resolvers.are_named(&[]);

    // It alone, and dead: pods hear that at once, and the other resolver is not asked instead.
    scene.apply(&policy(&format!("'{dead}'")));
    scene.in_force();
    resolvers.kill();
    let opened = resolvers.until("an open circuit", 2);
    let times = resolvers.ask_for(Duration::from_secs(6), "SERVFAIL");
    let slow = times.iter().filter(|took| **took > FAST).count();
    println!(
        "alone: open after {opened:?}; {} questions, {slow} waited, slowest {:?}",
        times.len(),
        times[times.len() - 1]
    );
    assert!(times.len() > 6 && slow <= 3, "{times:?}");
    assert!(times.iter().all(|took| *took < CLIENT), "{times:?}");
    resolvers.revive();
    resolvers.until("a closed circuit", 0);
    assert_eq!(resolvers.ask().0, wanted);
    scene.nothing_leaked_but(&[]);
}
