//! nft refuses a batch, or takes seconds for it, while pods send: the former rules stay whole, and the next batch that the
//! kernel takes brings the new ones.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::lab::{PodOptions, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, WAIT_DEADLINE, exit, wait_until};
use serde_json::Value;

const NODE: &str = "n1";

/// A wrapper of nft, which refuses or delays batches while a file exists. It passes listings on.
struct StubbornNft {
    refuse: PathBuf,
    delay: PathBuf,
}

impl StubbornNft {
    fn install(lab: &TestLab) -> Self {
        let folder = lab.node_dir(NODE).join("nft");
        fs::create_dir_all(&folder).unwrap();
        let (refuse, delay) = (folder.join("refuse"), folder.join("delay"));
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = -f ]; then\n  [ -e {refuse} ] && {{ echo '/dev/stdin:1:1-2: Error: Could not process rule: Cannot \
             allocate memory' >&2; exit 1; }}\n  [ -e {delay} ] && sleep 2\nfi\nexec {folder}/nft \"$@\"\n",
            refuse = refuse.display(),
            delay = delay.display(),
            folder = folder.display(),
        );
        fs::write(folder.join("stubborn"), script).unwrap();
        let install = format!(
            "program=\"$(readlink -f \"$(command -v nft)\")\"; cd {}; cp \"$program\" nft; chmod +x stubborn; \
             mount --bind stubborn \"$program\"",
            folder.display()
        );
        // A program sees what was mounted before it began.
        lab.stop("agent-n1").unwrap();
        lab.shell(NODE, &install).unwrap();
        let restarted = Timestamp::now();
        lab.start_agent(NODE).unwrap();
        lab.await_report(NODE, "a reading after the restart", |report| {
            let at = report["verifiedAt"].as_str().and_then(|at| at.parse().ok());
            at.is_some_and(|at: Timestamp| at >= restarted)
        })
        .unwrap();
        Self { refuse, delay }
    }
}

fn status<'a>(report: &'a Value, kind: &str) -> &'a str {
    let conditions = report["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    found.map_or("", |condition| condition["status"].as_str().unwrap_or(""))
}

fn published(lab: &TestLab) -> String {
    lab.current_envelope(NODE).unwrap().digest().unwrap()
}

fn policy(lab: &TestLab, default: &str) {
    let text = format!(
        "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{namespace: crawlers, name: crawler}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: crawler}}}}\n  route: {{type: Exit, exitNodes: [{{name: eu}}]}}\n  \
         defaultAction: {default}\n---\n"
    );
    lab.apply_yaml(&text).unwrap();
}

fn is_in_force(lab: &TestLab, what: &str) {
    lab.await_report(NODE, what, |report| {
        report["appliedDigest"] == published(lab) && status(report, "Programmed") == "True"
    })
    .unwrap();
}

fn leaves_by_the_exit(lab: &TestLab, sender: &Sender, since: Timestamp) {
    wait_until(WAIT_DEADLINE, "packets by the exit", || {
        Ok((lab.pod_since(sender, since)?.exited > 0).then_some(()))
    })
    .unwrap();
}

/// Gives a set another type, as another version could have made it, and takes out the rules that use it.
const OTHER_TYPE: &str = "{ nft -a list table inet postern | awk '/^\\tchain /{ chain = $2 } \
     /@dns4/ { print \"delete rule inet postern \" chain \" handle \" $NF }'; \
     echo 'delete set inet postern dns4'; echo 'add set inet postern dns4 { type ipv4_addr . inet_service; }'; } | nft -f -";

/// No edit can fill such a set, so the tables are made anew.
fn a_set_of_another_type_is_replaced(lab: &TestLab, sender: &Sender) {
    let table = || lab.shell(NODE, "nft list table inet postern").unwrap();
    let is_whole = |table: &str| {
        let (_, set) = table.split_once("set dns4 {").unwrap();
        let (set, _) = set.split_once('}').unwrap();
        !set.contains("inet_service") && table.contains("@dns4")
    };
    assert!(is_whole(&table()));
    lab.stop("agent-n1").unwrap();
    lab.shell(NODE, OTHER_TYPE).unwrap();
    assert!(!is_whole(&table()));
    let restarted = Timestamp::now();
    lab.start_agent(NODE).unwrap();
    wait_until(WAIT_DEADLINE, "tables that are made anew", || {
        Ok(is_whole(&table()).then_some(()))
    })
    .unwrap();
    is_in_force(lab, "the policy, by new tables");
    leaves_by_the_exit(lab, sender, restarted);
}

#[test]
fn a_batch_that_nft_refuses_or_delays_leaves_the_former_rules_whole_and_the_next_one_brings_the_new_ones()
 {
    let lab = TestLab::up(&UpOptions::default()).unwrap();
    lab.apply_yaml(&exit("eu", "gw-1", "")).unwrap();
    policy(&lab, "Allow");
    let selected = PodOptions::on(NODE).label("app", "crawler");
    let sender = lab.sender("crawlers/crawler", selected).unwrap();
    leaves_by_the_exit(&lab, &sender, Timestamp::MIN);
    is_in_force(&lab, "the first policy");
    let nft = StubbornNft::install(&lab);

    // A stricter policy that the kernel does not get: the former one stays in force, and the report names that one.
    let former = published(&lab);
    fs::write(&nft.refuse, "").unwrap();
    policy(&lab, "Deny");
    wait_until(WAIT_DEADLINE, "the stricter intent", || {
        Ok((published(&lab) != former).then_some(()))
    })
    .unwrap();
    lab.await_report(NODE, "the refused batch", |report| {
        status(report, "Programmed") == "False"
            && status(report, "FailClosed") == "True"
            && report["appliedDigest"] == *former
    })
    .unwrap();
    leaves_by_the_exit(&lab, &sender, Timestamp::now());
    let packet = ["--to", "203.0.113.200", "--port", "7"];
    let explained = || crate::explain::explained(&lab, "crawlers/crawler", &packet);
    let found = explained();
    assert_eq!(found["verdict"], "Allowed", "what is in force: {found:#}");
    let serials = [&found["nodes"][0]["serial"], &found["pending"]["serial"]];
    let [in_force, pending] = serials.map(Value::as_u64);
    assert!(in_force.is_some() && pending > in_force, "{found:#}");

    fs::remove_file(&nft.refuse).unwrap();
    is_in_force(&lab, "the stricter policy, once nft takes batches again");
    let found = explained();
    assert_eq!(
        (&found["verdict"], &found["pending"]),
        (&"Denied".into(), &Value::Null),
        "{found:#}"
    );
    let silent = lab.await_silence(&sender).unwrap();
    lab.await_attempts(&sender, silent).unwrap();
    assert_eq!(lab.pod_since(&sender, silent).unwrap().arrived, 0);

    // A batch that takes seconds: the same, later. A pod that starts meanwhile is guarded from its first packet.
    fs::write(&nft.delay, "").unwrap();
    policy(&lab, "Allow");
    let late = PodOptions {
        timeout: Duration::from_secs(30),
        ..PodOptions::on(NODE).label("app", "crawler")
    };
    let late = lab.sender("crawlers/late", late).unwrap();
    for sender in [&sender, &late] {
        leaves_by_the_exit(&lab, sender, silent);
    }
    fs::remove_file(&nft.delay).unwrap();
    is_in_force(&lab, "the looser policy");
    a_set_of_another_type_is_replaced(&lab, &sender);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
