//! A tenant looks for its exits on a real API server: with the right to view its namespace, and with the right to see exits.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster tenants::`, as root; the first run builds Kubernetes.

use postern_e2e::cluster::{token, write_kubeconfig};
use postern_e2e::lab::Lab;
use postern_e2e::lab::sandbox::command;
use postern_e2e::proof::harness::{exit, policy, wait_until};

use crate::plane::{LONG, another, cluster};

const TENANT: &str = "system:serviceaccount:crawlers:tenant";

/// A kubeconfig of an account with `view` in its namespace, and nothing else.
fn tenant(lab: &Lab) -> String {
    let account = ["create", "serviceaccount", "tenant", "-n", "crawlers"];
    lab.kubectl_ok(&account).unwrap();
    let view = [
        "create",
        "rolebinding",
        "tenant",
        "-n",
        "crawlers",
        "--clusterrole=view",
    ];
    lab.kubectl_ok(&[&view[..], &["--user", TENANT]].concat())
        .unwrap();
    let kubeconfig = lab.dir().join("tmp/tenant.kubeconfig");
    let token = token(lab, "crawlers", "tenant", None).unwrap();
    write_kubeconfig(lab, &kubeconfig, "tenant", &token).unwrap();
    kubeconfig.display().to_string()
}

/// Waits until `explain` with this kubeconfig ends with this code and prints all of these words.
fn await_explained(lab: &Lab, what: [&str; 2], kubeconfig: &str, code: i32, words: &[&str]) {
    let mut last = String::new();
    let arguments = [&["explain"], &what[..], &["--kubeconfig", kubeconfig]].concat();
    let waited = wait_until(LONG, "an explanation", || {
        let output = command::output(&mut lab.posternctl(&arguments)?, None)?;
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        last.push_str(&String::from_utf8_lossy(&output.stderr));
        let told = words.iter().all(|words| last.contains(words));
        Ok((output.status.code() == Some(code) && told).then_some(()))
    });
    assert!(waited.is_ok(), "{code} {words:?}: {waited:?}: {last}");
}

fn may(lab: &Lab, user: &str, resource: &str) -> bool {
    let question = ["auth", "can-i", "list", resource, "--as", user];
    let mut kubectl = lab.kubectl(question).unwrap();
    let output = command::output(&mut kubectl, None).unwrap();
    String::from_utf8_lossy(&output.stdout).trim() == "yes"
}

#[test]
fn a_tenant_sees_the_exit_in_use_and_is_told_which_right_shows_more() {
    let lab = cluster();
    let both = policy("eu", "").replace("{name: eu}", "{name: nowhere}, {name: eu}");
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &both)).unwrap();
    let pod = another(&lab, "web").unwrap().pod.key();
    let kubeconfig = tenant(&lab);

    let in_use = "policy crawler decides about it: it leaves by exit eu";
    let right = "the right to get exitnodes.postern.dev eu is missing";
    let told = [in_use, right, "postern-exit-viewer"];
    await_explained(&lab, ["pod", &pod], &kubeconfig, 0, &told);
    let columns = ["get", "egp", "crawler", "-n", "crawlers", "--no-headers"];
    let row = lab.kubectl_ok(&columns).unwrap();
    assert_eq!(row.split_whitespace().nth(2), Some("eu"), "{row}");

    // The command of docs/install.md.
    let role = "--clusterrole=postern-exit-viewer";
    lab.kubectl_ok(&[
        "create",
        "clusterrolebinding",
        "crawlers-exits",
        role,
        "--user",
        TENANT,
    ])
    .unwrap();
    let told = [in_use, "there is no such ExitNode", "Ready:"];
    await_explained(&lab, ["pod", &pod], &kubeconfig, 0, &told);
    let told = ["FullyEnforced", "IN USE", "gw-1"];
    await_explained(&lab, ["policy", "crawlers/crawler"], &kubeconfig, 0, &told);
    let absent = ["the cluster has no Pod crawlers/nobody"];
    await_explained(&lab, ["pod", "crawlers/nobody"], &kubeconfig, 1, &absent);

    // Where `view` is bound for the whole cluster, it has all four kinds; in one namespace it has the namespaced kinds only.
    let bind = [
        "create",
        "clusterrolebinding",
        "jane",
        "--clusterrole=view",
        "--user=jane",
    ];
    lab.kubectl_ok(&bind).unwrap();
    wait_until(LONG, "the aggregated rights", || {
        Ok(may(&lab, "jane", "exitnodes.postern.dev").then_some(()))
    })
    .unwrap();
    assert!(may(&lab, "jane", "interfaceisolations.postern.dev"));
    assert!(may(&lab, "jane", "egresspolicies.postern.dev"));
    assert!(!may(&lab, TENANT, "interfaceisolations.postern.dev"));
    assert!(!may(&lab, "jane", "nodeintents.postern.dev"));
}
