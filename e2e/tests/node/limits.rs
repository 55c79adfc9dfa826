//! Limits of a policy, with packets that the world counts: how much of a flood of one pod arrives, and how much of what its
//! neighbours send meanwhile.

mod flood;
mod neighbours;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::lab::{Exec, PodOptions, PodRecord};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, exit, policy, record_run, wait_until};
use serde_json::{Value, json};

use self::flood::{Flow, Stream, flood};
use crate::holes::{ask, lab, serving};

/// The burst of a second is over after one second of twice the rate.
const BURST: Duration = Duration::from_millis(1700);

const NODE: &str = "n1";
/// Where each pod's packets are counted.
const PORTS: [u16; 3] = [9001, 9002, 9003];
/// How far a rate may be off.
const TOLERANCE: f64 = 0.05;
/// What a neighbour may lose to a machine under load; a limit would take half of it.
const NEIGHBOUR: f64 = 0.97;

/// Pods of one node: one that floods, its neighbour of the same policy, and one of another policy without limits.
struct Crowd {
    lab: TestLab,
    pods: [PodRecord; 3],
    world: [IpAddr; 2],
    /// Where packets are counted and dropped.
    counting: Exec<'static>,
    rows: Vec<Value>,
}

/// Packets in a second. A counter is read by a program, which takes some time: between these two the rate lies.
#[derive(Debug, Clone, Copy)]
struct MeasuredRate {
    least: f64,
    most: f64,
}

impl MeasuredRate {
    fn is_near(self, wanted: f64) -> bool {
        self.least <= wanted * (1.0 + TOLERANCE) && self.most >= wanted * (1.0 - TOLERANCE)
    }
}

impl Crowd {
    fn up() -> Self {
        let lab = lab(2, 1);
        let other = policy("eu", "").replace("crawler}", "other}");
        lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "") + &other))
            .unwrap();
        let pod = |name: &str, app: &str| {
            let options = PodOptions::on(NODE);
            match app {
                "crawler" => serving(&lab, name, options),
                _ => lab.pod_on(name, &options.label("app", app)).unwrap(),
            }
        };
        let pods = [
            pod("crawlers/web", "crawler"),
            pod("crawlers/neighbour", "crawler"),
            pod("crawlers/other", "other"),
        ];
        let world = [pods[0].world[0], pods[0].world[1]];
        let table = counting_table("prerouting priority -400");
        lab.namespace("world").nft(&table).unwrap();
        let crowd = Self {
            lab,
            pods,
            world,
            counting: Exec::World,
            rows: Vec::new(),
        };
        for pod in ["crawlers/web", "crawlers/neighbour", "crawlers/other"] {
            for address in crowd.world {
                let to = SocketAddr::new(address, 7);
                wait_until(WAIT_DEADLINE, "an answer of the world", || {
                    let answer = ask(&crowd.lab, Exec::Pod(pod), to, &["--protocol", "tcp"]);
                    Ok(answer)
                })
                .unwrap();
            }
        }
        crowd
    }

    /// Gives the policy of the first two pods these limits and waits until the kernel has them.
    fn limit(&self, limits: &str) {
        self.put(&policy("eu", limits));
    }

    /// The same where the pods leave by the node's uplink: no tunnel is in between, so that much more gets through.
    fn limit_by_uplink(&self, limits: &str) {
        let by_exit = policy("eu", limits);
        let route = "{type: Exit, exitNodes: [{name: eu}]}";
        let by_uplink = by_exit.replace(route, "{type: NodeUplink}");
        assert_ne!(by_uplink, by_exit);
        self.put(&by_uplink);
    }

    fn put(&self, policy: &str) {
        let former = self.lab.current_envelope(NODE).unwrap().digest().unwrap();
        self.lab.apply_yaml(policy).unwrap();
        let digest = wait_until(WAIT_DEADLINE, "an intent with the limits", || {
            let digest = self.lab.current_envelope(NODE)?.digest().ok();
            Ok(digest.filter(|digest| *digest != former))
        });
        let digest = digest.unwrap();
        self.lab
            .await_report(NODE, "the limits in force", |report| {
                report["appliedDigest"] == json!(digest)
            })
            .unwrap();
    }

    fn arrived(&self, pod: usize) -> u64 {
        let name = format!("p{}", PORTS[pod]);
        let list = ["nft", "list", "counter", "inet", "crowd", &name];
        let listing = self.lab.exec_ok(self.counting, &list).unwrap();
        let (_, after) = listing.split_once("packets ").unwrap();
        after.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Sends in the pod's namespace until it is stopped; answers how many the kernel took.
    fn send(&self, stream: Stream, stop: &AtomicBool, sent: &AtomicU64) -> Result<(), LabError> {
        let to = SocketAddr::new(self.world[stream.family], PORTS[stream.pod]);
        self.lab
            .namespace(&self.pods[stream.pod].sandbox())
            .run(|| {
                flood(to, stream, stop, sent);
                Ok(())
            })
    }

    /// Waits until the kernel refuses of a stream of twice the limit: a burst of a second is over then, however fast the sender
    /// is. Without a limit nothing is refused.
    fn await_refusals(&self, stream: Stream, sent: &AtomicU64, before: u64) {
        let most = u64::from(stream.per_second) / 2;
        let begun = Instant::now();
        loop {
            thread::sleep(Duration::from_millis(100));
            // In this order: what is sent while the counter is read must not count as refused.
            let sent = sent.load(Ordering::Relaxed);
            let refused = sent.saturating_sub(self.arrived(stream.pod) - before);
            if refused > most / 5 && begun.elapsed() > BURST || begun.elapsed() > BURST * 5 {
                return;
            }
        }
    }

    /// What arrives of the first stream in a second, and which part of what the others sent.
    fn measured(&self, streams: &[Stream], time: Duration) -> (MeasuredRate, Vec<f64>) {
        let stop = AtomicBool::new(false);
        let sent: Vec<AtomicU64> = streams.iter().map(|_| AtomicU64::new(0)).collect();
        let mut rate = MeasuredRate {
            least: 0.0,
            most: 0.0,
        };
        let before: Vec<u64> = streams.iter().map(|one| self.arrived(one.pod)).collect();
        thread::scope(|scope| {
            for (stream, sent) in streams.iter().zip(&sent) {
                scope.spawn(|| self.send(*stream, &stop, sent).unwrap());
            }
            self.await_refusals(streams[0], &sent[0], before[0]);
            let read = || {
                let before = Instant::now();
                (before, self.arrived(streams[0].pod), Instant::now())
            };
            let (outer_begin, first, inner_begin) = read();
            thread::sleep(time);
            let (inner_end, last, outer_end) = read();
            stop.store(true, Ordering::Relaxed);
            let over =
                |begin: Instant, end: Instant| number(last - first) / (end - begin).as_secs_f64();
            rate = MeasuredRate {
                least: over(outer_begin, outer_end),
                most: over(inner_begin, inner_end),
            };
        });
        let parts = streams.iter().zip(&sent).zip(&before).skip(1);
        let parts = parts.map(|((stream, sent), before)| {
            let sent = sent.load(Ordering::Relaxed);
            let arrived = || number(self.arrived(stream.pod) - before) / number(sent);
            // Packets that are under way arrive.
            let all = wait_until(Duration::from_secs(2), "the rest", || {
                Ok((arrived() >= 1.0).then_some(1.0))
            });
            all.unwrap_or_else(|_| arrived())
        });
        (rate, parts.collect())
    }

    fn holds(&mut self, what: &str, wanted: f64, (rate, neighbours): (MeasuredRate, Vec<f64>)) {
        let row = json!({"limit": what, "wanted": wanted, "arrived": [rate.least, rate.most], "neighbours": neighbours});
        println!("{row}");
        self.rows.push(row);
        assert!(rate.is_near(wanted), "{what}: {rate:?} of {wanted}");
        assert!(
            neighbours.iter().all(|part| *part >= NEIGHBOUR),
            "{what}: {neighbours:?}"
        );
    }

    fn counted(&self, counter: &str) -> u64 {
        let name = format!("postern_agent_counted_packets{{reason=\"{counter}\"}}");
        self.lab.agent_metric(NODE, &name).unwrap()
    }
}

/// A table that drops packets after it has counted them: an answer would only add load.
fn counting_table(hook: &str) -> String {
    let rule = |port| format!("udp dport {port} counter name p{port} drop;");
    let (rules, counters) = (
        PORTS.map(rule).concat(),
        PORTS.map(|port| format!("counter p{port} {{ }};")).concat(),
    );
    format!(
        "table inet crowd {{ {counters} chain seen {{ type filter hook {hook}; {rules} }}; }}\n"
    )
}

fn number(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap())
}

/// A flood at twice the limit, and two neighbours at most of it.
fn streams(most: u32, flow: Flow, bytes: usize, family: usize) -> [Stream; 3] {
    let stream = |pod, per_second| Stream {
        pod,
        per_second,
        flow,
        bytes,
        family,
    };
    let most_of_it = (most * 4 / 5).max(1);
    [
        stream(0, most * 2),
        stream(1, most_of_it),
        stream(2, most_of_it),
    ]
}

fn time_for(most: u32) -> Duration {
    // Of 10 in a second a long time is needed, before one packet more or less is less than the tolerance.
    match most {
        0..100 => Duration::from_secs(10),
        _ => Duration::from_secs(4),
    }
}

#[test]
fn each_rate_holds_a_pod_within_a_twentieth_and_takes_nothing_from_its_neighbours() {
    let mut crowd = Crowd::up();
    let free = crowd.measured(&streams(1000, Flow::One, 16, 0), Duration::from_secs(2));
    assert!(free.0.least > 1500.0, "without a limit: {free:?}");
    for (field, flow, counter) in [
        ("packetsPerSecond", Flow::One, "over_packets"),
        (
            "newConnectionsPerSecond",
            Flow::ForEach,
            "over_new_connections",
        ),
    ] {
        for (most, families) in [(10, &[0][..]), (1000, &[0, 1])] {
            crowd.limit(&format!("limits: {{{field}: {most}}}"));
            for family in families {
                let found = crowd.measured(&streams(most, flow, 16, *family), time_for(most));
                crowd.holds(&format!("{field} {most}"), f64::from(most), found);
            }
        }
        assert!(crowd.counted(counter) > 0, "{counter}");
    }
    let (most, bytes) = (1_000_000, 972);
    // The header of IPv4 and that of UDP count.
    let packets = f64::from(most) / f64::from(u16::try_from(bytes).unwrap() + 28);
    crowd.limit(&format!("limits: {{bytesPerSecond: {most}}}"));
    let found = crowd.measured(&streams(1000, Flow::One, bytes, 0), time_for(1000));
    crowd.holds("bytesPerSecond 1M", packets, found);
    assert!(crowd.counted("over_bytes") > 0);
    fast(&mut crowd);
    let packets = crowd.lab.packets().unwrap();
    assert_eq!(packets.leaked, 0, "{packets:?}");
    assert_eq!(
        crowd.lab.repairs(NODE),
        0,
        "nothing of the tables was put back"
    );
    record_run("limits", &crowd.rows).unwrap();
}

/// 100 000 in a second, counted and dropped where they leave the node: no other program has to bear them. A sender that the machine holds
/// up sends less than the limit, so that there are three attempts; a limit that is too low is so in each.
fn fast(crowd: &mut Crowd) {
    let (most, what) = (100_000, "packetsPerSecond 100000");
    crowd
        .lab
        .namespace(NODE)
        .nft(&counting_table("postrouting priority 400"))
        .unwrap();
    crowd.counting = Exec::Node(NODE);
    let alone = &streams(most, Flow::One, 16, 0)[..1];
    let wanted = f64::from(most);
    // A pod that sends less than its limit for a while has its burst again, which is one second's packets.
    let burst = wanted / time_for(most).as_secs_f64();
    crowd.limit_by_uplink("limits: {packetsPerSecond: 10000000}");
    let (free, _) = crowd.measured(alone, Duration::from_secs(3));
    let is_judged = free.least > wanted * 1.2;
    crowd.limit_by_uplink(&format!("limits: {{packetsPerSecond: {most}}}"));
    for attempt in 1..=3 {
        let found = crowd.measured(alone, time_for(most));
        let row = json!({"limit": what, "attempt": attempt, "withoutLimit": free.least, "arrived": [found.0.least, found.0.most]});
        println!("{row}");
        crowd.rows.push(row);
        assert!(found.0.least <= wanted * (1.0 + TOLERANCE) + burst);
        if !is_judged {
            break;
        }
        if found.0.is_near(wanted) || attempt == 3 {
            return crowd.holds(what, wanted, found);
        }
    }
    println!("this machine carries too few packets to judge {what}");
    crowd.rows.push(json!({"limit": what, "judged": false}));
}

/// Connections that are open and are kept so.
fn opened(crowd: &Crowd, pod: usize, tries: usize) -> Vec<TcpStream> {
    let to = SocketAddr::new(crowd.world[0], 7);
    let open = || {
        let tried = (0..tries).map(|_| TcpStream::connect_timeout(&to, Duration::from_millis(300)));
        Ok(tried.filter_map(Result::ok).collect())
    };
    crowd
        .lab
        .namespace(&crowd.pods[pod].sandbox())
        .run(open)
        .unwrap()
}

#[test]
fn a_pod_has_no_more_connections_at_a_time_than_its_limit_also_over_a_restart_of_the_agent() {
    let crowd = Crowd::up();
    crowd.limit("limits: {connections: 20}");
    let mut open = opened(&crowd, 0, 25);
    assert_eq!(open.len(), 20);
    assert_eq!(opened(&crowd, 1, 20).len(), 20, "the neighbour has its own");
    assert_eq!(opened(&crowd, 2, 30).len(), 30, "the other policy has none");
    let neighbour = SocketAddr::new(crowd.pods[1].addresses[0], 7);
    let web = Exec::Pod("crawlers/web");
    let inside = ask(&crowd.lab, web, neighbour, &["--protocol", "tcp"]);
    assert!(inside.is_some(), "inside the cluster nothing counts");

    let begin = Timestamp::now();
    crowd.lab.kill("agent-n1").unwrap();
    crowd.lab.start_agent(NODE).unwrap();
    crowd
        .lab
        .await_state(NODE, "eu", "Enforcing", begin)
        .unwrap();
    assert_eq!(
        opened(&crowd, 0, 3).len(),
        0,
        "the count went with the agent"
    );
    wait_until(WAIT_DEADLINE, "the dropped packets in the metrics", || {
        Ok((crowd.counted("over_connections") > 0).then_some(()))
    })
    .unwrap();
    open.truncate(10);
    wait_until(WAIT_DEADLINE, "room for as many as were closed", || {
        open.extend(opened(&crowd, 0, 20 - open.len()));
        Ok((open.len() == 20).then_some(()))
    })
    .unwrap();
    assert_eq!(opened(&crowd, 0, 2).len(), 0);
    drop(open);
    wait_until(WAIT_DEADLINE, "a set without the pod", || {
        let set = crowd
            .lab
            .shell(NODE, "nft list set inet postern limit_connections_20_4")?;
        Ok((!set.contains("elements")).then_some(()))
    })
    .unwrap();
}

#[test]
fn what_is_left_of_a_limit_is_a_metric_of_its_policy() {
    let crowd = Crowd::up();
    let metric = |name: &str, limit: &str| {
        let labels = format!("namespace=\"crawlers\",policy=\"crawler\",limit=\"{limit}\"");
        let name = format!("postern_agent_limit_{name}{{{labels}}}");
        crowd.lab.agent_metric(NODE, &name).unwrap()
    };
    // A ratio is a whole number only where nothing was used.
    let quiet =
        |limit| metric("exhausted_sources", limit) == 0 && metric("remaining_ratio", limit) == 1;
    crowd.limit("limits: {packetsPerSecond: 500, newConnectionsPerSecond: 400}");
    wait_until(WAIT_DEADLINE, "limits of which nothing is used", || {
        Ok((quiet("packets") && quiet("new_connections")).then_some(()))
    })
    .unwrap();
    // Twice as many packets as the limit lets through, of one connection.
    let flood = &streams(500, Flow::One, 16, 0)[..1];
    thread::scope(|scope| {
        let flooding = scope.spawn(|| crowd.measured(flood, Duration::from_secs(14)));
        wait_until(WAIT_DEADLINE, "a pod that has nothing left", || {
            let used_up = metric("exhausted_sources", "packets") == 1;
            Ok((used_up && quiet("new_connections")).then_some(()))
        })
        .unwrap();
        println!("{:?} a second arrive", flooding.join().unwrap().0);
    });
    wait_until(WAIT_DEADLINE, "the limit is free again", || {
        Ok(quiet("packets").then_some(()))
    })
    .unwrap();
}
