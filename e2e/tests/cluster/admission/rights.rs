//! What each token may do, complete, against lists that a person has read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::admission::caller::Caller;
use crate::admission::cluster::{Cluster, NAMESPACE, cluster};

/// Verbs that the authorizer knows, also those that a resource does not offer.
const VERBS: [&str; 14] = [
    "approve",
    "attest",
    "bind",
    "create",
    "delete",
    "deletecollection",
    "escalate",
    "get",
    "impersonate",
    "list",
    "patch",
    "sign",
    "update",
    "watch",
];

/// Compares with the committed list; `POSTERN_GOLDEN=write` writes it, for a person to read.
fn compare(name: &str, found: &BTreeSet<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/admission/rights");
    let path: PathBuf = folder.join(name);
    let text: String = found.iter().map(|line| format!("{line}\n")).collect();
    if std::env::var_os("POSTERN_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, committed, "{}", path.display());
}

/// Every word of a list in a rule.
fn words(rule: &Value, name: &str) -> Vec<String> {
    let list = rule[name].as_array().into_iter().flatten();
    list.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The rules of a review, one right per line.
fn lines(status: &Value) -> BTreeSet<String> {
    assert_eq!(status["incomplete"], json!(false), "{status}");
    let mut lines = BTreeSet::new();
    for rule in status["resourceRules"].as_array().unwrap() {
        let names = words(rule, "resourceNames");
        let names = if names.is_empty() {
            String::new()
        } else {
            format!(" named {}", names.join(", "))
        };
        for (verb, group, resource) in combined(rule) {
            lines.insert(format!("{verb} {}{names}", place(&group, &resource)));
        }
    }
    for rule in status["nonResourceRules"].as_array().unwrap() {
        for verb in words(rule, "verbs") {
            lines.extend(
                words(rule, "nonResourceURLs")
                    .iter()
                    .map(|url| format!("{verb} {url}")),
            );
        }
    }
    lines
}

fn combined(rule: &Value) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for verb in words(rule, "verbs") {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                all.push((verb.clone(), group.clone(), resource));
            }
        }
    }
    all
}

fn place(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

/// What a token may do by its own word, in our namespace.
fn reviewed(caller: &Caller<'_>) -> BTreeSet<String> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": NAMESPACE},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer: Value = serde_json::from_str(&caller.post(path, &review).unwrap()).unwrap();
    lines(&answer["status"])
}

/// Every resource and subresource that the API server offers: group, version and resource.
fn discovered(cluster: &Cluster) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let groups = cluster.get("/apis").unwrap();
    let versions = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| {
            let name = group["name"].as_str().unwrap().to_owned();
            let versions = group["versions"].as_array().unwrap().clone();
            versions.into_iter().map(move |version| {
                let way = version["groupVersion"].as_str().unwrap();
                (name.clone(), format!("/apis/{way}"))
            })
        });
    let core = [(String::new(), "/api/v1".to_owned())];
    for (group, path) in core.into_iter().chain(versions) {
        // Groups that another case makes come and go.
        let Some(list) = cluster.get(&path).filter(|_| !group.ends_with(".test")) else {
            continue;
        };
        for resource in list["resources"].as_array().unwrap() {
            found.insert((group.clone(), resource["name"].as_str().unwrap().to_owned()));
        }
    }
    found
}

/// What an account may do, by trying every verb on every resource, without a name, in all namespaces and in ours.
fn tried(cluster: &Cluster, account: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    let resources = discovered(cluster);
    assert!(resources.len() > 100, "only {} resources", resources.len());
    for (group, resource) in resources {
        for verb in VERBS {
            let (name, sub) = resource.split_once('/').unwrap_or((&resource, ""));
            let attributes = json!({
                "group": group, "version": "*", "resource": name, "subresource": sub, "verb": verb,
            });
            if cluster.may(account, &attributes) {
                allowed.insert(format!("{verb} {}", place(&group, &resource)));
                continue;
            }
            let mut here = attributes;
            here["namespace"] = json!(NAMESPACE);
            if cluster.may(account, &here) {
                allowed.insert(format!(
                    "{verb} {} in {NAMESPACE}",
                    place(&group, &resource)
                ));
            }
        }
    }
    allowed
}

#[test]
fn a_token_of_an_agent_says_of_itself_what_the_list_says() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "delta"}});
    cluster.create("/api/v1/nodes", &node).unwrap();
    let agent = Caller::agent_of(&cluster, "delta");
    compare("agent-reviewed.txt", &reviewed(&agent));
    cluster.delete("/api/v1/nodes/delta").unwrap();
}

#[test]
fn every_verb_on_every_resource_was_tried_for_an_agent() {
    let cluster = cluster();
    let _turn = cluster.turn();
    compare("agent-tried.txt", &tried(&cluster, "postern-agent"));
}

#[test]
fn the_operator_and_the_tunnel_process_say_of_themselves_what_the_lists_say() {
    let cluster = cluster();
    let _turn = cluster.turn();
    for account in ["operator", "tunnel"] {
        let caller = Caller::unbound(&cluster, &format!("postern-{account}"));
        compare(&format!("{account}-reviewed.txt"), &reviewed(&caller));
    }
}
