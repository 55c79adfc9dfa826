//! The decisions of a policy with `audit` reach a collector of OpenTelemetry as they are in the log; one that is away costs neither
//! lines nor enforcement.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster records::`, as root; the first run builds Kubernetes.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postern_e2e::lab::traffic::names::name_of;
use postern_e2e::lab::{Binaries, Cluster, Collector, Exec, PodOptions, PodRecord, UpOptions};
use postern_e2e::proof::harness::{TestLab, exit, wait_until};
use serde_json::{Map, Value, json};

use crate::plane::{LONG, await_account};

const NODE: &str = "n1";
const WEB: Exec<'static> = Exec::Pod("crawlers/web");

/// The name of each attribute in the line.
const FIELDS: [(&str, &str); 13] = [
    ("postern.verdict", "verdict"),
    ("postern.reason", "reason"),
    ("postern.rule", "rule"),
    ("postern.policy", "policy"),
    ("k8s.namespace.name", "namespace"),
    ("k8s.pod.name", "pod"),
    ("k8s.pod.uid", "pod_uid"),
    ("source.address", "source"),
    ("destination.address", "destination"),
    ("destination.port", "port"),
    ("postern.protocol", "protocol"),
    ("postern.bytes", "bytes"),
    ("dns.question.name", "name"),
];

/// A lab with a collector, and a pod whose policy records each decision.
struct Scene {
    lab: TestLab,
    web: PodRecord,
}

impl Scene {
    fn up() -> Self {
        let options = UpOptions {
            cluster: Cluster::ApiServer,
            nodes: 2,
            gateways: 1,
            collector: Collector::There,
            ..UpOptions::default()
        };
        let lab = TestLab::up(&options).unwrap();
        lab.apply_yaml("apiVersion: v1\nkind: Namespace\nmetadata: {name: crawlers}\n")
            .unwrap();
        await_account(&lab, "crawlers").unwrap();
        let pod = PodOptions::on(NODE).label("app", "crawler");
        let web = lab.pod_on("crawlers/web", &pod).unwrap();
        let scene = Self { lab, web };
        scene.lab.apply_yaml(&exit("eu", "gw-1", "")).unwrap();
        scene.govern("shop");
        scene
    }

    /// The address that the policy allows, and the resolver.
    fn allowed(&self) -> IpAddr {
        self.web.world[0]
    }

    fn refused(&self) -> IpAddr {
        self.web.world[2]
    }

    /// Applies the policy with this name of its rule, and waits until the node carries it.
    fn govern(&self, rule: &str) {
        let (allowed, name) = (self.allowed(), name_of(self.allowed()));
        let policy = format!(
            "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{namespace: crawlers, name: crawler}}\nspec:\n  \
             podSelector: {{matchLabels: {{app: crawler}}}}\n  route: {{type: Exit, exitNodes: [{{name: eu}}]}}\n  \
             defaultAction: Deny\n  audit: {{log: All}}\n  dns: {{mode: Filter, upstreams: ['{allowed}']}}\n  \
             rules: [{{name: {rule}, action: Allow, to: [{{cidr: {allowed}/32}}]}}, {{name: names, action: Allow, to: [{{fqdn: {name}}}]}}]\n"
        );
        self.lab.apply_yaml(&policy).unwrap();
        wait_until(LONG, "the policy at the node", || {
            let envelope = self.lab.current_envelope(NODE)?.digest().unwrap();
            let report = self.lab.report_status(NODE).unwrap_or_default();
            let body = format!("{:?}", self.lab.current_body(NODE)?.firewall);
            let is_there = body.contains(rule) && report["appliedDigest"] == envelope;
            Ok(is_there.then_some(()))
        })
        .unwrap();
    }

    fn run(&self, verb: &[&str]) -> bool {
        let program = Binaries::locate().unwrap().lab().display().to_string();
        let command = [&[&*program], verb].concat();
        self.lab.exec(WEB, &command).unwrap().status.success()
    }

    fn connects(&self, to: IpAddr) -> bool {
        let to = SocketAddr::new(to, 7).to_string();
        self.run(&["probe", &to, "--protocol", "tcp", "--timeout", "500ms"])
    }

    fn asks(&self, name: &str) {
        let server = self.allowed().to_string();
        self.run(&["resolve", "--server", &server, name]);
    }

    /// What is decided about: the connection by this rule, another one, a name that a rule allows, and one that none does.
    fn decisions(&self, rule: &str) -> [Value; 4] {
        let [allowed, refused] = [self.allowed(), self.refused()].map(|to| to.to_string());
        [
            json!({"verdict": "Allowed", "reason": "Rule", "rule": rule, "destination": allowed, "port": 7}),
            json!({"verdict": "Denied", "reason": "DefaultAction", "destination": refused, "port": 7}),
            json!({"verdict": "Allowed", "name": name_of(self.allowed())}),
            json!({"verdict": "Denied", "reason": "name-refused", "name": "never.example.org"}),
        ]
    }

    /// One connection is let out and one refused, and so are names, until the log has a line for each: the first question after a
    /// change may find no answer, and the first packet a rule that the agent does not know yet.
    fn tries_everything(&self, rule: &str) {
        let since = self.lines().len();
        let wanted = self.decisions(rule);
        let are_there = || {
            let lines = self.lines();
            let is_there = |one| lines.iter().skip(since).any(|line| has(line, one));
            Ok(wanted.iter().all(is_there).then_some(()))
        };
        let tried = wait_until(LONG, "a line for each decision", || {
            let is_let_out = self.connects(self.allowed());
            assert!(!self.connects(self.refused()));
            self.asks(&name_of(self.allowed()));
            self.asks("Never.example.org");
            let written = wait_until(Duration::from_secs(5), "lines", are_there);
            Ok((is_let_out && written.is_ok()).then_some(()))
        });
        tried.unwrap_or_else(|error| panic!("{error}: {:#?}", self.lines()));
    }

    /// The decisions in the log of the agent.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.lab.log("agent-n1")).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let is_decision = |line: &Value| line["target"] == "postern::decision";
        lines.filter(is_decision).collect()
    }

    /// Counts of the agent: records that are written, taken by the collector, and not taken.
    fn counts(&self) -> [u64; 3] {
        let sum = |name: &str, labels: &[&str]| -> u64 {
            let metrics = labels.iter().map(|label| {
                let metric = format!("postern_agent_{name}_total{label}");
                self.lab.agent_metric(NODE, &metric).unwrap()
            });
            metrics.sum()
        };
        let verdicts = ["allowed", "denied"].map(|verdict| format!("{{reason=\"{verdict}\"}}"));
        let losses =
            ["full", "unreachable", "refused"].map(|loss| format!("{{reason=\"{loss}\"}}"));
        [
            sum(
                "decision_records",
                &verdicts.each_ref().map(|label| &**label),
            ),
            sum("exported_decision_records", &[""]),
            sum(
                "unexported_decision_records",
                &losses.each_ref().map(|label| &**label),
            ),
        ]
    }

    /// Waits until each line is taken or counted, and answers the counts. A packet that is sent again may be recorded at any time.
    fn settled(&self) -> [u64; 3] {
        let mut last = Vec::new();
        let settled = wait_until(LONG, "the end of each record", || {
            let counts @ [written, taken, lost] = self.counts();
            let found = [self.lines(), self.lab.collected_records()].map(|all| all.len() as u64);
            last = [&counts[..], &found].concat();
            Ok((written == taken + lost && found == [written, taken]).then_some(counts))
        });
        settled.unwrap_or_else(|error| panic!("{error}: {last:?}"))
    }
}

/// Has the line all of these fields?
fn has(line: &Value, wanted: &Value) -> bool {
    let wanted = wanted.as_object().unwrap();
    wanted.iter().all(|(key, value)| line[key] == *value)
}

/// The fields of a record, under their names in the line.
fn fields(record: &Value) -> Map<String, Value> {
    let attributes = record["attributes"].as_object().unwrap();
    let named = FIELDS.iter().filter_map(|(attribute, field)| {
        Some(((*field).to_owned(), attributes.get(*attribute)?.clone()))
    });
    let fields: Map<_, _> = named.collect();
    let transport = attributes.get("network.transport");
    let wanted = match fields.get("protocol").and_then(Value::as_u64) {
        Some(6) => Some(json!("tcp")),
        Some(17) => Some(json!("udp")),
        _ => None,
    };
    assert_eq!(transport, wanted.as_ref(), "{record}");
    let more = usize::from(transport.is_some());
    assert_eq!(
        attributes.len(),
        fields.len() + more,
        "nothing else: {record}"
    );
    fields
}

/// How often each combination of fields is there.
fn occurrences(records: impl Iterator<Item = Map<String, Value>>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for mut fields in records {
        fields.retain(|field, value| {
            !value.is_null() && FIELDS.iter().any(|(_, known)| known == field)
        });
        *found.entry(Value::Object(fields).to_string()).or_default() += 1;
    }
    found
}

#[test]
fn each_decision_in_the_log_reaches_the_collector_and_one_that_is_away_costs_neither_lines_nor_enforcement()
 {
    let scene = Scene::up();
    scene.tries_everything("shop");
    let [written, taken, lost] = scene.settled();
    assert!(written >= 4, "{written}");
    assert_eq!((taken, lost), (written, 0));
    let mut both = Default::default();
    let same = wait_until(LONG, "one record for each line", || {
        let lines = scene.lines();
        let lines = lines.iter().filter_map(Value::as_object).cloned();
        let records = scene.lab.collected_records();
        both = [occurrences(lines), occurrences(records.iter().map(fields))];
        Ok((both[0] == both[1]).then_some(records))
    });
    let records = same.unwrap_or_else(|error| panic!("{error}: {both:#?}"));
    for wanted in scene.decisions("shop") {
        let is_it = |record: &&Value| has(&Value::Object(fields(record)), &wanted);
        let record = records.iter().find(is_it).unwrap();
        assert_eq!(record["resource"]["service.name"], "postern-agent");
        assert_eq!(record["resource"]["k8s.node.name"], NODE);
        assert_eq!(record["eventName"], "postern.decision");
        assert_eq!(record["attributes"]["k8s.pod.name"], "web");
        assert_eq!(record["attributes"]["k8s.pod.uid"], scene.web.uid);
        assert!(record["timeUnixNano"].as_u64() > Some(0));
    }

    // Without the collector there is a line for each decision, and the next policy is in force as ever.
    scene.lab.kill("lab-collector").unwrap();
    let taken = scene.lab.collected_records().len();
    let repairs = "postern_agent_events_total{reason=\"repairs\"}";
    let repaired = scene.lab.agent_metric(NODE, repairs).unwrap();
    scene.govern("market");
    scene.tries_everything("market");
    let [written, still_taken, lost] = scene.settled();
    assert_eq!((still_taken, lost), (taken as u64, written - still_taken));
    assert!(lost >= 4, "{lost}");
    assert_eq!(scene.lab.agent_metric(NODE, repairs).unwrap(), repaired);

    // What is decided after its return arrives.
    scene.lab.start_collector().unwrap();
    scene.tries_everything("market");
    scene.settled();
    let records = scene.lab.collected_records();
    for wanted in scene.decisions("market") {
        let mut later = records.iter().skip(taken);
        assert!(
            later.any(|record| has(&Value::Object(fields(record)), &wanted)),
            "{wanted}: {records:#?}"
        );
    }

    // One that hangs holds up neither the end of the agent nor what it enforces after its next start.
    scene.lab.signal("lab-collector", Signal::SIGSTOP).unwrap();
    scene.tries_everything("market");
    let begun = Instant::now();
    scene.lab.stop("agent-n1").unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    scene.lab.start_agent(NODE).unwrap();
    scene.govern("bazaar");
    scene.tries_everything("bazaar");
    scene.lab.signal("lab-collector", Signal::SIGCONT).unwrap();
    // The node's own connection to the collector is no pod's, and leaves as the host's traffic does.
    let own = scene.lab.node(NODE).unwrap().addresses();
    let mut packets = scene.lab.packets().unwrap();
    packets
        .unowned
        .retain(|of| !(own.contains(&of.source) && of.port == 4317));
    assert_eq!(packets.faults(), Vec::<String>::new());
}
