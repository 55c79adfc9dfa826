//! The program as a container runtime calls it, with a fake agent.
#![expect(
    clippy::unwrap_used,
    reason = "clippy sees tests only in test functions, not in what they call"
)]

mod agent;

use agent::{Answer, RunFolder};
use serde_json::{Value, json};

const DONE: &str = "{\"ok\":true,\"class\":\"held\"}\n";
const NOT_SEALED: &str = "{\"ok\":false,\"code\":11,\"reason\":\"NotSealed\",\"message\":\"the guard is not in place\"}\n";

fn previous(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "cni0", "mac": "aa:aa:aa:aa:aa:aa"},
            {"name": "veth1234", "mac": "bb:bb:bb:bb:bb:bb"},
            {"name": "eth0", "mac": "cc:cc:cc:cc:cc:cc", "sandbox": "/var/run/netns/x"}
        ],
        "ips": [
            {"address": "10.244.1.7/24", "gateway": "10.244.1.1", "interface": 2},
            {"address": "fd00:10:244:1::7/64", "interface": 2}
        ],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": []}
    })
}

fn configuration(version: &str) -> Value {
    json!({
        "cniVersion": version, "name": "pods", "type": "postern-cni",
        "prevResult": previous(version)
    })
}

fn assert_error(answer: &Answer, version: &str, code: u32, message: &str) {
    assert_eq!(answer.code(), Some(1));
    let report = answer.json();
    assert_eq!(report["cniVersion"], version);
    assert_eq!(report["code"], code);
    assert_eq!(report["msg"], message);
}

#[test]
fn add_tells_the_agent_the_whole_binding_and_prints_the_previous_result_unchanged() {
    let run = RunFolder::with_agent(DONE);
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let answer = run.call("ADD", &configuration(version));
        assert_eq!(answer.code(), Some(0), "{}", answer.text());
        assert_eq!(answer.text(), previous(version).to_string());
        let want = json!({
            "verb": "cni-add", "containerId": "c1", "ifname": "eth0",
            "netns": "/var/run/netns/x",
            "namespace": "shop", "name": "cart-0", "uid": "7c2a",
            "addresses": ["10.244.1.7", "fd00:10:244:1::7"],
            "hostInterface": "veth1234", "mac": "cc:cc:cc:cc:cc:cc"
        });
        assert_eq!(run.asked(), want);
    }
}

#[test]
fn add_without_an_agent_asks_the_runtime_to_try_again() {
    let run = RunFolder::without_agent();
    let answer = run.call("ADD", &configuration("1.0.0"));
    let message = format!("no agent answers at {}", run.socket().display());
    assert_error(&answer, "1.0.0", 11, &message);
    assert_eq!(
        answer.json()["details"],
        "No such file or directory (os error 2)"
    );
}

#[test]
fn add_passes_the_agents_refusal_on() {
    let run = RunFolder::with_agent(NOT_SEALED);
    let answer = run.call("ADD", &configuration("1.1.0"));
    assert_error(&answer, "1.1.0", 11, "NotSealed: the guard is not in place");
}

#[test]
fn add_fails_when_the_agent_hangs_up_or_talks_nonsense() {
    for nonsense in ["", "{\"ok\":true}", "{\"ok\":false}\n", "yes\n"] {
        let run = RunFolder::with_agent(nonsense);
        let answer = run.call("ADD", &configuration("1.0.0"));
        assert_eq!(answer.code(), Some(1), "{nonsense:?}");
        assert_eq!(answer.json()["code"], 11, "{nonsense:?}");
    }
}

#[test]
fn add_as_the_first_plugin_of_a_list_is_refused() {
    let run = RunFolder::with_agent(DONE);
    let answer = run.call(
        "ADD",
        &json!({"cniVersion": "1.0.0", "name": "pods", "type": "postern-cni"}),
    );
    assert_error(
        &answer,
        "1.0.0",
        7,
        "there is no prevResult: this plugin must come after the one that makes the interface",
    );
}

#[test]
fn a_version_that_is_not_supported_is_refused() {
    let run = RunFolder::with_agent(DONE);
    for version in ["0.2.0", "2.0.0"] {
        let answer = run.call("ADD", &configuration(version));
        assert_error(
            &answer,
            "1.1.0",
            1,
            "the network configuration has another cniVersion",
        );
    }
}

#[test]
fn check_asks_for_container_and_addresses_and_prints_nothing() {
    let run = RunFolder::with_agent(DONE);
    let answer = run.call("CHECK", &configuration("0.4.0"));
    assert_eq!((answer.code(), answer.text()), (Some(0), String::new()));
    let want = json!({
        "verb": "cni-check", "containerId": "c1", "ifname": "eth0",
        "addresses": ["10.244.1.7", "fd00:10:244:1::7"]
    });
    assert_eq!(run.asked(), want);
    let old = run.call("CHECK", &configuration("0.3.1"));
    assert_error(
        &old,
        "0.3.1",
        1,
        "CHECK does not exist before version 0.4.0",
    );
}

#[test]
fn del_tells_the_agent_and_leaves_no_marker() {
    let run = RunFolder::with_agent(DONE);
    // The runtime has no previous result when an ADD failed half-way.
    let answer = run.call("DEL", &json!({"cniVersion": "1.0.0", "name": "pods"}));
    assert_eq!((answer.code(), answer.text()), (Some(0), String::new()));
    let want = json!({"verb": "cni-del", "containerId": "c1", "ifname": "eth0"});
    assert_eq!(run.asked(), want);
    assert!(!run.socket().with_file_name("departed").exists());
}

#[test]
fn del_succeeds_without_an_agent_and_leaves_a_marker() {
    for run in [
        RunFolder::without_agent(),
        RunFolder::with_agent(NOT_SEALED),
    ] {
        let answer = run.call("DEL", &configuration("1.0.0"));
        assert_eq!((answer.code(), answer.text()), (Some(0), String::new()));
        let folder = run.socket().with_file_name("departed");
        let names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["c1"]);
        let marker: Value =
            serde_json::from_slice(&std::fs::read(folder.join("c1")).unwrap()).unwrap();
        assert_eq!(marker, json!({"containerId": "c1", "ifname": "eth0"}));
    }
}

#[test]
fn gc_names_the_containers_that_are_still_there() {
    let run = RunFolder::with_agent(DONE);
    let mut with_list = configuration("1.1.0");
    with_list["cni.dev/valid-attachments"] = json!([
        {"containerID": "c1", "ifname": "eth0"},
        {"containerID": "c2", "ifname": "eth0"}
    ]);
    let answer = run.call("GC", &with_list);
    assert_eq!((answer.code(), answer.text()), (Some(0), String::new()));
    let want = json!({"verb": "cni-gc", "validContainerIds": ["c1", "c2"]});
    assert_eq!(run.asked(), want);
    let without_list = run.call("GC", &configuration("1.1.0"));
    assert_error(
        &without_list,
        "1.1.0",
        7,
        "there is no cni.dev/valid-attachments",
    );
}

#[test]
fn status_is_50_while_no_pod_can_be_held() {
    let sealed = RunFolder::with_agent(DONE);
    let answer = sealed.call("STATUS", &configuration("1.1.0"));
    assert_eq!((answer.code(), answer.text()), (Some(0), String::new()));
    assert_eq!(sealed.asked(), json!({"verb": "cni-status"}));

    let away = RunFolder::without_agent().call("STATUS", &configuration("1.1.0"));
    assert_error(&away, "1.1.0", 50, "no pod can be held on this node now");
    let unsealed = RunFolder::with_agent(NOT_SEALED).call("STATUS", &configuration("1.1.0"));
    assert_error(
        &unsealed,
        "1.1.0",
        50,
        "no pod can be held on this node now",
    );
    assert_eq!(
        unsealed.json()["details"],
        "NotSealed: the guard is not in place"
    );
}

#[test]
fn version_needs_no_agent_and_answers_in_the_version_that_was_asked() {
    let run = RunFolder::without_agent();
    let answer = run.call("VERSION", &json!({"cniVersion": "1.0.0"}));
    assert_eq!(answer.code(), Some(0));
    let want = json!({
        "cniVersion": "1.0.0",
        "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
    });
    assert_eq!(answer.json(), want);
}

#[test]
fn a_verb_that_is_none_is_refused() {
    let answer = RunFolder::with_agent(DONE).call("PURGE", &configuration("1.0.0"));
    assert_error(&answer, "1.0.0", 4, "CNI_COMMAND is \"PURGE\"");
}

#[test]
fn an_agent_that_takes_the_request_and_says_nothing_is_given_up_after_5_seconds() {
    let run = RunFolder::without_agent();
    let listener = std::os::unix::net::UnixListener::bind(run.socket()).unwrap();
    let start = std::time::Instant::now();
    let answer = run.call("ADD", &configuration("1.0.0"));
    assert_eq!(answer.json()["code"], 11);
    assert_eq!(answer.json()["details"], "timed out");
    assert!(start.elapsed() < std::time::Duration::from_secs(8));
    drop(listener);
}
