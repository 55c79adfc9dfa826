//! Alerts, the dashboard, and a Prometheus that reads the metrics of a lab.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster monitoring::`, as root; the first run builds Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use postern_e2e::LabError;
use postern_e2e::cluster::OPERATORS;
use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Lab, Programs, UpOptions};
use postern_e2e::proof::harness::{TestLab, wait_until};
use serde_json::{Value, json};

use crate::chart::repository;
use crate::plane::LONG;

/// Where the Prometheus of a case listens, in the namespace of the control plane.
const PROMETHEUS: &str = "127.0.0.1:9090";
/// The agent's port in the chart's values.
const AGENT_PORT: u16 = 9855;
const NODES: [&str; 2] = ["n1", "gw-1"];

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// The rules of the alerts.
fn alerts() -> Vec<Value> {
    let rules = yaml("deploy/monitoring/rules.yaml");
    let groups = rules["groups"].as_array().unwrap().iter();
    groups
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap()
}

/// The names of our metrics in a text, a histogram by its own name.
fn metrics(text: &str) -> BTreeSet<&str> {
    let names = text.split(|one: char| !(one.is_ascii_alphanumeric() || one == '_'));
    names
        .filter(|name| name.starts_with("postern_agent_") || name.starts_with("postern_operator_"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name))
        .collect()
}

#[test]
fn every_alert_fires_in_its_state_only_and_has_a_runbook() {
    let mut promtool = Command::new("promtool");
    promtool.args(["test", "rules", "rules_test.yaml"]);
    promtool.current_dir(repository("deploy/monitoring"));
    command::run(&mut promtool).unwrap();

    let mut judged: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for test in yaml("deploy/monitoring/rules_test.yaml")["tests"]
        .as_array()
        .unwrap()
    {
        for judgement in test["alert_rule_test"].as_array().unwrap() {
            let fires = judgement["exp_alerts"].as_array().unwrap();
            let name = text(judgement, "/alertname").to_owned();
            judged.entry(name).or_default().insert(!fires.is_empty());
        }
    }
    let runbooks = read("docs/alerts.md");
    let headings: BTreeSet<&str> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| text(alert, "/alert")).collect();
    assert_eq!(
        names, headings,
        "docs/alerts.md has a runbook of each alert"
    );
    for alert in &alerts {
        let name = text(alert, "/alert");
        let anchor = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(text(alert, "/annotations/runbook"), anchor);
        let both = BTreeSet::from([false, true]);
        assert_eq!(judged.get(name), Some(&both), "{name}: fires and does not");
    }
}

#[test]
fn rules_and_dashboard_ask_for_documented_metrics_only() {
    let pages = ["docs/agent-metrics.md", "docs/operator-metrics.md"].map(read);
    let documented: BTreeSet<&str> = pages.iter().flat_map(|page| metrics(page)).collect();
    for file in [
        "deploy/monitoring/rules.yaml",
        "deploy/monitoring/dashboard.json",
    ] {
        let text = read(file);
        let asked = metrics(&text);
        assert!(asked.len() > 10, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&documented).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

/// A Prometheus that ends with the case.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts one in the namespace of the control plane, where it reaches the nodes and the loopback of the operators.
fn start_prometheus(lab: &Lab, folder: &Path) -> Prometheus {
    let agents = NODES.map(|name| {
        let address = lab.node(name).unwrap().ipv4();
        json!({"targets": [format!("{address}:{AGENT_PORT}")], "labels": {"instance": name}})
    });
    let operators = (0..OPERATORS).map(|number| format!("127.0.0.1:{}", 9851 + u16::from(number)));
    let config = json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [repository("deploy/monitoring/rules.yaml")],
        "scrape_configs": [
            {"job_name": "postern-agent", "static_configs": agents},
            {"job_name": "postern-operator", "static_configs": [{"targets": operators.collect::<Vec<_>>()}]},
        ],
    });
    let file = folder.join("prometheus.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut prometheus = lab.namespace("cp").command("prometheus");
    prometheus
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("series").display()
        ))
        .arg(format!("--web.listen-address={PROMETHEUS}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Prometheus(prometheus.spawn().unwrap())
}

/// The result of a query, once it is the one that is wanted.
fn await_query(lab: &Lab, expression: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let server = format!("http://{PROMETHEUS}");
    wait_until(LONG, expression, || {
        let mut promtool = lab.namespace("cp").command("promtool");
        promtool.args(["query", "instant", "-o", "json", &server, expression]);
        // It listens a moment after its start.
        let Ok(answer) = command::run(&mut promtool) else {
            return Ok(None);
        };
        let series: Vec<Value> =
            serde_json::from_str(&answer).map_err(LabError::json("an answer"))?;
        Ok(Some(series).filter(|series| wanted(series)))
    })
    .unwrap()
}

#[test]
fn a_prometheus_reads_every_program_and_an_agent_that_ends_is_noticed() {
    let mut options = UpOptions::on_api_server(2, Programs::Postern);
    options.agent_arguments = vec![
        "--scrape-address=::".to_owned(),
        format!("--scrape-port={AGENT_PORT}"),
    ];
    let lab = TestLab::up(&options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let _prometheus = start_prometheus(&lab, folder.path());
    let programs = NODES.len() + usize::from(OPERATORS);
    await_query(&lab, "up == 1", |series| series.len() == programs);
    await_query(&lab, "sum(postern_operator_leader) == 1", |series| {
        series.len() == 1
    });
    await_query(&lab, "postern_agent_sealed == 1", |series| {
        series.len() == NODES.len()
    });
    // Each metric of an alert without labels that need an event is there under the name that the rule has.
    for alert in alerts() {
        for metric in metrics(text(&alert, "/expr")) {
            if !metric.ends_with("_total") && metric != "postern_operator_poison_objects" {
                await_query(&lab, &format!("count({metric})"), |series| {
                    series.len() == 1
                });
            }
        }
    }
    // Pending ones too: most rules wait for minutes before they fire.
    await_query(&lab, "ALERTS", <[Value]>::is_empty);
    lab.kill("agent-n1").unwrap();
    await_query(
        &lab,
        r#"ALERTS{alertname="PosternAgentDown",instance="n1",alertstate="pending"}"#,
        |series| series.len() == 1,
    );
}
