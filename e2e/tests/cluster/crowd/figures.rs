//! What was asked, written and compiled, counted where it arrives: at the proxy before the API server, in etcd and in
//! the operators.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use postern_e2e::cluster::OPERATORS;
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::record_run;
use serde_json::{Value, json};

use crate::crowd::sizes::{ALL_PODS, ALL_POLICIES};
use crate::plane::{operator_port, page};

/// The port of etcd, on the loopback of the control plane's machine.
const ETCD: u16 = 2379;

/// A number of these pages: the sum over all lines that begin so. One at least does: a metric of another name is not 0.
fn number(pages: &[String], name: &str) -> f64 {
    let lines = pages.iter().flat_map(|page| page.lines());
    let values: Vec<f64> = lines
        .filter(|line| line.starts_with(name))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(!values.is_empty(), "nobody counts {name}");
    values.iter().sum()
}

const COMPILES: &str = "postern_operator_pipeline_step_duration_seconds_count{step=\"Compile\"}";
const RUNS: &str = "postern_operator_pipeline_runs_total";

/// The requests of one client to the API server.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asked {
    /// Requests but for those that keep the Lease.
    pub(super) requests: u64,
    /// Those of them that write.
    pub(super) writes: u64,
    /// Requests that keep the Lease.
    pub(super) lease: u64,
    /// Bytes of requests and of answers.
    pub(super) sent: u64,
    pub(super) received: u64,
}

pub(super) fn asked(lab: &Lab, who: &str) -> Asked {
    let mut sum = Asked::default();
    let counts = lab.requests().unwrap().requests;
    for count in counts
        .iter()
        .filter(|count| count.user_agent.starts_with(who))
    {
        sum.sent += count.request_bytes;
        sum.received += count.response_bytes;
        if count.resource == "leases.coordination.k8s.io" {
            sum.lease += count.requests;
            continue;
        }
        sum.requests += count.requests;
        if !matches!(count.verb.as_str(), "get" | "list" | "watch") {
            sum.writes += count.requests;
        }
    }
    sum
}

/// How many writes there were of each resource, for who reads the figures.
pub(super) fn writes(lab: &Lab) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for count in lab.requests().unwrap().requests {
        if !matches!(count.verb.as_str(), "get" | "list" | "watch") {
            *sums
                .entry(format!(
                    "{} {} {}",
                    count.user_agent, count.verb, count.resource
                ))
                .or_default() += count.requests;
        }
    }
    sums
}

/// One figure, and the most that it may be.
pub(super) struct Figure(&'static str, f64, f64);

pub(super) fn judge(figures: &[Figure], seconds: f64, writes: &BTreeMap<String, u64>) {
    let mut table = format!(
        "| {ALL_POLICIES} policies, {ALL_PODS} pods, {seconds:.0} s | figure | at most |\n|---|---|---|\n"
    );
    for Figure(name, value, most) in figures {
        writeln!(table, "| {name} | {value:.0} | {most:.0} |").unwrap();
    }
    for (what, count) in writes {
        writeln!(table, "| {what} | {count} | |").unwrap();
    }
    eprintln!("{table}");
    let kept: BTreeMap<&str, Value> = figures
        .iter()
        .map(|Figure(name, value, most)| (*name, json!({"figure": value, "atMost": most})))
        .collect();
    let proof = json!({"seconds": seconds, "figures": kept, "writes": writes});
    record_run("crowd", &proof).unwrap();
    let over: Vec<&str> = figures
        .iter()
        .filter(|Figure(_, value, most)| value > most)
        .map(|Figure(name, ..)| *name)
        .collect();
    assert_eq!(over, Vec::<&str>::new(), "{table}");
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of requests are far below 2^52"
)]
fn count(number: u64) -> f64 {
    number as f64
}

/// What the operators have done and what etcd has taken.
pub(super) struct Work {
    compiles: f64,
    runs: f64,
    bytes: f64,
    puts: f64,
}

pub(super) fn work(lab: &Lab) -> Work {
    let etcd = [page(lab, ETCD, "/metrics").unwrap()];
    // The one that does not lead has nothing to count yet.
    let operators = (1..=OPERATORS).map(|number| page(lab, operator_port(number), "/metrics"));
    let operators: Vec<String> = operators.map(Result::unwrap).collect();
    Work {
        compiles: number(&operators, COMPILES),
        runs: number(&operators, RUNS),
        bytes: number(&etcd, "etcd_network_client_grpc_received_bytes_total"),
        puts: number(&etcd, "etcd_mvcc_put_total"),
    }
}

/// The price until every object has its status.
pub(super) fn price(lab: &Lab, before: &Work) -> Vec<Figure> {
    let [operator, agent] = ["postern-operator", "postern-agent"].map(|who| asked(lab, who));
    let after = work(lab);
    // With less, another client was counted: each policy has a status by now.
    assert!(
        operator.writes > count_of(ALL_POLICIES) && agent.writes > 0,
        "{operator:?} {agent:?}"
    );
    vec![
        Figure(
            "requests of the operators",
            count(operator.requests),
            4500.0,
        ),
        Figure("of these, writes", count(operator.writes), 4500.0),
        Figure("bytes that the operators sent", count(operator.sent), 6e6),
        Figure(
            "bytes that the operators received",
            count(operator.received),
            4e7,
        ),
        Figure("requests of the agents", count(agent.requests), 120.0),
        Figure("bytes that the agents sent", count(agent.sent), 1.2e6),
        Figure("bytes that the agents received", count(agent.received), 4e6),
        Figure("bytes to etcd", after.bytes - before.bytes, 1.5e7),
        Figure("puts in etcd", after.puts - before.puts, 6500.0),
        Figure("compiles", after.compiles - before.compiles, 50.0),
    ]
}

fn count_of(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}

/// What a minute takes in which nothing changes: a report of each node, and the Lease of each operator.
pub(super) fn rest(lab: &Lab) -> Vec<Figure> {
    lab.reset_requests().unwrap();
    let before = work(lab);
    std::thread::sleep(Duration::from_secs(60));
    let [operator, agent] = ["postern-operator", "postern-agent"].map(|who| asked(lab, who));
    let after = work(lab);
    assert!(operator.lease > 0, "{operator:?}");
    vec![
        Figure(
            "a minute at rest: requests of the operators",
            count(operator.requests),
            30.0,
        ),
        Figure(
            "a minute at rest: writes of the operators",
            count(operator.writes),
            0.0,
        ),
        Figure(
            "a minute at rest: requests for the Lease",
            count(operator.lease),
            66.0,
        ),
        Figure(
            "a minute at rest: requests of the agents",
            count(agent.requests),
            8.0,
        ),
        Figure(
            "a minute at rest: compiles",
            after.compiles - before.compiles,
            2.0,
        ),
        Figure("a minute at rest: runs", after.runs - before.runs, 6.0),
        Figure(
            "a minute at rest: bytes to etcd",
            after.bytes - before.bytes,
            3e5,
        ),
    ]
}
