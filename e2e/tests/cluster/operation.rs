//! The verbs of `posternctl` for operation on a real API server: before an installation, while it runs, and its end.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster operation::`, as root; the first run builds Kubernetes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postern_e2e::cluster::{OPERATORS, operator_name, token, write_kubeconfig};
use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Binaries, Exec, Lab, Programs, UpOptions};
use postern_e2e::proof::harness::{After, Series, TestLab, wait_until};
use serde_json::{Value, json};

use crate::ctl::{NOWHERE, says};
use crate::manifests::{name, rendered};
use crate::plane::{LONG, NODES, SYSTEM, cluster, get};

/// The checks of `install check`, each with its result and what was found.
fn checks(lab: &Lab, arguments: &[&str], code: i32) -> Vec<(String, String, String)> {
    let verb = [&["install", "check", "-o", "json"], arguments].concat();
    let report: Value = serde_json::from_str(&says(lab, &verb, code)).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .map(|one| {
            (
                text(&one["check"]),
                text(&one["result"]),
                text(&one["found"]),
            )
        })
        .collect()
}

fn assert_check(checks: &[(String, String, String)], check: &str, result: &str, words: &str) {
    let found = checks.iter().find(|(name, _, _)| name == check).unwrap();
    assert_eq!(found.1, result, "{found:?}");
    assert!(found.2.contains(words), "{found:?}");
}

#[test]
fn a_cluster_is_checked_before_an_installation_and_after_it() {
    let lab = TestLab::up(&UpOptions::on_api_server(2, Programs::Bare)).unwrap();
    // Every lab applies the definitions; a cluster before an installation has none.
    lab.kubectl_ok(&["delete", "crds", "--all"]).unwrap();
    let before = checks(&lab, &[], 3);
    for (check, result, words) in [
        ("Kubernetes", "Passed", "v1."),
        ("tunnel ranges", "Passed", "overlap no range"),
        ("tunnel ports", "Passed", "free"),
        ("your rights", "Passed", "everything"),
        ("namespace", "Passed", "there is no postern-system yet"),
        ("definitions", "Passed", "none yet"),
        ("nft on nodes", "Unknown", "no agent runs yet"),
    ] {
        assert_check(&before, check, result, words);
    }
    // A range of pods, and one of Services, that a person chose without knowing of tunnels.
    let inside = lab.node("n1").unwrap().pods4().to_string();
    let with_range = ["--tunnel-cidrs", &inside];
    assert_check(
        &checks(&lab, &with_range, 4),
        "tunnel ranges",
        "Refused",
        "node n1",
    );
    let range = "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: more}\n\
        spec: {cidrs: [198.18.7.0/24]}\n";
    lab.apply_yaml(range).unwrap();
    let found = checks(&lab, &[], 4);
    assert_check(
        &found,
        "tunnel ranges",
        "Refused",
        "198.18.7.0/24 of the Services",
    );
    drop(lab);

    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    let after = checks(&lab, &[], 3);
    for (check, result, words) in [
        ("nft on nodes", "Passed", "tables"),
        ("tunnels on nodes", "Passed", "WireGuard"),
        ("definitions", "Warning", "6 of postern.dev"),
    ] {
        assert_check(&after, check, result, words);
    }
    // An agent's token has none of the rights, and each part that it may not read is unknown.
    let kubeconfig = lab.dir().join("tmp/agent.kubeconfig");
    let token = token(&lab, SYSTEM, "postern-agent", None).unwrap();
    write_kubeconfig(&lab, &kubeconfig, "agent", &token).unwrap();
    let file = kubeconfig.display().to_string();
    let found = checks(&lab, &["--kubeconfig", &file], 4);
    assert_check(&found, "your rights", "Refused", "create namespaces");
    assert_check(
        &found,
        "kernel version",
        "Unknown",
        "the right to list nodes is missing",
    );
}

/// The answer on standard output; progress is on the other one.
fn read_json(lab: &Lab, arguments: &[&str]) -> Value {
    let output = command::output(&mut lab.posternctl(arguments).unwrap(), None).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until `doctor` ends with this code and prints these words.
fn await_doctor(lab: &Lab, code: i32, words: &str) {
    let mut last = String::new();
    let waited = wait_until(LONG, "a finding", || {
        let output = command::output(&mut lab.posternctl(&["doctor"])?, None)?;
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.code() == Some(code) && last.contains(words)).then_some(()))
    });
    assert!(waited.is_ok(), "{code} {words}: {waited:?}: {last}");
}

/// The commands of the page, line by line.
fn documented() -> Vec<String> {
    let page = include_str!("../../../docs/operation.md");
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_page_runs_as_it_is_written() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    let lines = documented();
    assert_eq!(lines.len(), 17, "{lines:#?}");
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], "posternctl", "{line}");
        let mut program = lab.posternctl(&words[1..]).unwrap();
        program.current_dir(lab.dir());
        let output = command::output(&mut program, None).unwrap();
        // A lab is no cluster as people have them: it has warnings, and no refusals.
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "{line}: {output:?}");
        assert!(!output.stdout.is_empty(), "{line}");
    }
}

/// A program that runs on, and the lines that it prints on one of its outputs.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

enum Output {
    Standard,
    Error,
}

impl Running {
    fn start(lab: &Lab, arguments: &[&str], output: &Output) -> Self {
        let mut program = lab.posternctl(arguments).unwrap();
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let source: Box<dyn std::io::Read + Send> = match output {
            Output::Standard => Box::new(child.stdout.take().unwrap()),
            Output::Error => Box::new(child.stderr.take().unwrap()),
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line with these words.
    fn await_line(&self, words: &str) -> String {
        let began = Instant::now();
        let mut seen = Vec::new();
        while began.elapsed() < LONG {
            let Ok(line) = self.lines.recv_timeout(LONG) else {
                break;
            };
            if line.contains(words) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with {words:?}: {seen:#?}");
    }
}

#[test]
fn the_doctor_names_what_is_wrong_and_a_watch_shows_it_when_it_comes() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    wait_until(LONG, "a cluster at peace", || {
        let output = command::output(&mut lab.posternctl(&["status"])?, None)?;
        Ok(output.status.success().then_some(()))
    })
    .unwrap();
    // The doctor names features that this machine's kernel lacks, and finds nothing of the gravity Open or Blocked.
    let healthy = read_json(&lab, &["doctor", "-o", "json"]);
    for finding in healthy["findings"].as_array().unwrap() {
        let gravity = finding["gravity"].as_str().unwrap();
        assert!(["Degraded", "Notice"].contains(&gravity), "{finding}");
        assert_eq!(finding["kind"], "Node", "{finding}");
    }

    let mut watch = Running::start(&lab, &["status", "--watch"], &Output::Standard);
    watch.await_line("crawler");
    watch.await_line("approval");
    let applied = Instant::now();
    lab.apply_yaml(NOWHERE).unwrap();
    watch.await_line("RefNotFound: there is no ExitNode nowhere");
    assert!(
        applied.elapsed() < Duration::from_secs(30),
        "{:?}",
        applied.elapsed()
    );
    let pid = Pid::from_raw(i32::try_from(watch.child.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(watch.child.wait().unwrap().code(), Some(3));

    await_doctor(&lab, 3, "Blocked   RefNotFound: EgressPolicy crawlers/lost");
    for number in 1..=OPERATORS {
        lab.stop(&operator_name(number).unwrap()).unwrap();
    }
    await_doctor(&lab, 3, "Degraded  NoLeader: Lease postern-operator");

    let graph = says(&lab, &["graph"], 0);
    for words in [
        "flowchart LR",
        "crawlers/crawler",
        "uplink of gw-1",
        "not there",
    ] {
        assert!(graph.contains(words), "{graph}");
    }
    assert!(says(&lab, &["graph", "--drawing", "svg"], 0).starts_with("<svg "));
    assert!(says(&lab, &["graph", "--drawing", "dot"], 0).starts_with("digraph "));
}

fn release(lab: &Lab, node: &str) {
    let agent = Binaries::locate().unwrap().path("postern-agent");
    let (agent, run) = (agent.display().to_string(), lab.run_dir(node));
    let run = run.display().to_string();
    let line = [
        &agent,
        "release",
        "--reason",
        "uninstall",
        "--run-dir",
        &run,
    ];
    lab.exec_ok(Exec::Node(node), &line).unwrap();
}

fn definitions(lab: &Lab) -> usize {
    let all = get(lab, &["crds"]).unwrap();
    let all = all["items"].as_array().unwrap().iter();
    all.filter(|one| one["spec"]["group"] == "postern.dev")
        .count()
}

fn tables(lab: &Lab, node: &str) -> String {
    lab.exec_ok(Exec::Node(node), &["nft", "list", "tables"])
        .unwrap()
}

/// The whole run, with a person's part in it: operators and agents of the lab are no pods of a workload.
fn uninstall(lab: &Lab) {
    let mut running = Running::start(lab, &["uninstall", "--yes"], &Output::Error);
    running.await_line("holds the Lease postern-operator");
    for number in 1..=OPERATORS {
        lab.stop(&operator_name(number).unwrap()).unwrap();
    }
    running.await_line("node n1 does not report Released");
    assert_eq!(definitions(lab), 6);
    for node in NODES {
        release(lab, node);
    }
    running.await_line("Pod postern-agent-n1 is");
    for node in NODES {
        assert!(
            !tables(lab, node).contains("postern"),
            "{node}: {}",
            tables(lab, node)
        );
        lab.kill(&format!("agent-{node}")).unwrap();
        lab.kill(&format!("tunnel-{node}")).unwrap();
        let pod = format!("postern-agent-{node}");
        let delete = [
            "delete",
            "pod",
            &pod,
            "-n",
            SYSTEM,
            "--force",
            "--grace-period=0",
        ];
        lab.kubectl_ok(&delete).unwrap();
    }
    let ended = wait_until(LONG, "the end of the uninstallation", || {
        Ok(running.child.try_wait().unwrap())
    });
    assert!(ended.unwrap().success());
}

#[test]
fn an_uninstallation_opens_nothing_before_its_release_and_leaves_nothing_behind() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let label = [
        "label",
        "namespace",
        "crawlers",
        "postern.dev/egress-default=deny",
    ];
    lab.kubectl_ok(&label).unwrap();
    let plan = says(&lab, &["uninstall", "--dry-run"], 0);
    for words in [
        "would delete EgressPolicy crawlers/crawler",
        "would take the label from namespace crawlers",
        "now: node n1 reports",
        "would delete CustomResourceDefinition exitnodes.postern.dev",
        "nothing was changed",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    assert!(get(&lab, &["egp", "crawler", "-n", "crawlers"]).is_ok());

    // The operators keep running: the run ends at its time limit, and every guard is still in place.
    let short = says(&lab, &["uninstall", "--yes", "--timeout", "20s"], 1);
    assert!(
        short.contains("holds the Lease postern-operator"),
        "{short}"
    );
    assert!(
        short.contains("the same command goes on from here"),
        "{short}"
    );
    assert_eq!(definitions(&lab), 6);
    for node in NODES {
        assert!(tables(&lab, node).contains("inet postern"), "{node}");
    }

    // Every packet outside is counted: none leaves but by the exit before its pod is released.
    let mut series = Series::begin(&lab, "uninstallation").unwrap();
    let uninstalled = series.prove(
        "Postern uninstalled in order",
        &sender,
        After::Released,
        |lab| {
            uninstall(lab);
            Ok(())
        },
    );
    uninstalled.unwrap();
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
    assert_eq!(definitions(&lab), 0);
    let namespace = get(&lab, &["namespace", "crawlers"]).unwrap();
    assert_eq!(
        namespace["metadata"]["labels"]["postern.dev/egress-default"],
        Value::Null
    );
    let again = read_json(&lab, &["uninstall", "--yes", "-o", "json"]);
    let steps = again["steps"].as_array().unwrap();
    assert!(
        steps.iter().all(|step| step["acts"] == json!([])),
        "{again}"
    );
}

#[test]
fn an_api_server_takes_the_pods_of_an_uninstallation_as_they_are_made() {
    let lab = cluster();
    let is_agents =
        |object: &&Value| object["kind"] == "DaemonSet" && name(object).ends_with("postern-agent");
    let set = rendered().iter().find(is_agents).unwrap().to_string();
    let file = lab.dir().join("tmp/object.json");
    let write = |text: &str| lab.write_atomically(&file, text.as_bytes()).unwrap();
    let path = file.display().to_string();
    write(&set);
    lab.kubectl_ok(&["create", "-f", &path]).unwrap();
    let set = get(&lab, &["daemonset", "postern-agent", "-n", SYSTEM]).unwrap();
    let set = serde_json::from_value(set).unwrap();
    let patch = posternctl::uninstall::plugin_patch(&set)
        .unwrap()
        .to_string();
    let patch = [
        "patch",
        "daemonset",
        "postern-agent",
        "-n",
        SYSTEM,
        "-p",
        &patch,
    ];
    lab.kubectl_ok(&patch).unwrap();
    let changed = get(&lab, &["daemonset", "postern-agent", "-n", SYSTEM]).unwrap();
    let spec = &changed["spec"]["template"]["spec"];
    assert_eq!(spec["initContainers"][0]["name"], "plugin-removal");
    assert_eq!(spec["containers"].as_array().unwrap().len(), 1);
    let changed = serde_json::from_value(changed).unwrap();
    assert_eq!(posternctl::uninstall::plugin_patch(&changed), None);

    let pod = posternctl::uninstall::node_pod(&changed, "n1", "uninstall").unwrap();
    write(&serde_json::to_string(&pod).unwrap());
    let create = ["create", "--dry-run=server", "-o", "name", "-f", &path];
    assert!(
        lab.kubectl_ok(&create)
            .unwrap()
            .starts_with("pod/postern-uninstall-")
    );
}
