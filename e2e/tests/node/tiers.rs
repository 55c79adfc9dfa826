//! The tiers of administrators. `Admin`: what they deny reaches nobody whatever a tenant writes, what they allow leaves by the exit of
//! the tenant's policy and by nothing else, and what they pass is the tenant's to decide. `Baseline`: what they deny to pods that no
//! policy selects, and nothing more.

use std::net::SocketAddr;

use postern_e2e::lab::{Exec, PodOptions};
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};
use serde_json::{Value, json};

use crate::holes::{Talk, ask, serving};
use crate::terms::{Scene, own, second};

const NODE: &str = "n1";
const ADMIN: &str = include_str!("../../../deploy/administrators/admin.yaml");
const BASELINE: &str = include_str!("../../../deploy/administrators/baseline.yaml");

/// A policy of administrators for all namespaces with this name, for which the lower number is asked first.
fn tier(name: &str, priority: u32, rules: &str) -> String {
    of_tier("Admin", name, priority, rules)
}

fn of_tier(tier: &str, name: &str, priority: u32, rules: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {{name: {name}}}\nspec:\n  tier: {tier}\n  \
         priority: {priority}\n  subject: {{namespaces: {{}}}}\n  rules: [{rules}]\n---\n"
    )
}

/// A rule about these two destinations.
fn rule(name: &str, action: &str, to: [SocketAddr; 2]) -> String {
    format!(
        "{{name: {name}, action: {action}, to: [{{cidr: {}/32}}, {{cidr: '{}/128'}}]}}",
        to[0].ip(),
        to[1].ip()
    )
}

fn without(scene: &Scene, name: &str) {
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClusterEgressPolicy", "metadata": {"name": name},
    });
    scene.lab.delete(&[object]).unwrap();
}

/// What a rule denied to pods of the namespace, by the metric of the agent; 0 also where there is no such series.
fn denied(scene: &Scene, policy: &str, rule: &str) -> u64 {
    let labels = format!("namespace=\"crawlers\",policy=\"{policy}\",rule=\"{rule}\"");
    let name = format!("postern_agent_denied_packets{{{labels}}}");
    scene.lab.agent_metric(NODE, &name).unwrap()
}

#[test]
fn what_administrators_deny_no_tenant_opens_and_what_they_allow_leaves_by_the_exit_of_the_tenant() {
    let scene = Scene::up();
    let (first, other) = (own(&scene.web, 7), second(&scene.web, 7));
    let mut talk = Talk::converse(&scene.lab, &scene.web, 0);
    scene.apply("defaultAction: Allow\n  establishedFlows: Keep");
    talk.goes_on("before administrators denied anything");

    // The counter names the rule, also in the report.
    let company = tier("company", 10, &rule("never", "Deny", first));
    scene.lab.apply_yaml(&company).unwrap();
    for protocol in ["tcp", "udp"] {
        scene.refuses("what administrators deny", first, protocol);
    }
    scene.answers("what they do not name", other, "tcp");
    talk.ends();
    let counted = wait_until(WAIT_DEADLINE, "a count of the rule", || {
        let packets = denied(&scene, "company", "never");
        Ok((packets > 0).then_some(packets))
    });
    counted.unwrap();
    let report = wait_until(WAIT_DEADLINE, "the rule in the report", || {
        let report = scene.lab.report_status(NODE);
        let found = report.and_then(|report| report.pointer("/scopes/0/denied/0").cloned());
        Ok(found.filter(|found| found["rule"] == "never"))
    });
    let report: Value = report.unwrap();
    assert_eq!(report["policy"], "company", "{report}");

    // No field of a tenant's policy opens it.
    let own_rule = rule("mine", "Allow", first);
    for (lines, words) in [
        (
            format!("defaultAction: Allow\n  rules: [{own_rule}]"),
            ["mine", "Cut"],
        ),
        (
            "defaultAction: Allow\n  enforcement: Observe".to_owned(),
            ["rules: [], ", "Observe"],
        ),
        (
            format!("defaultAction: Allow\n  establishedFlows: Keep\n  rules: [{own_rule}]"),
            ["mine", "Keep"],
        ),
    ] {
        scene.apply(&lines);
        scene.published(&words);
        scene.refuses(&lines, first, "tcp");
    }

    // An earlier policy of the tier passes it to the tenant, who allows it, and then does not.
    let earlier = tier("earlier", 5, &rule("tenants", "Pass", first));
    scene.lab.apply_yaml(&earlier).unwrap();
    scene.answers("what is passed, and the tenant allows", first, "tcp");
    scene.apply("defaultAction: Deny");
    scene.refuses("what is passed, and the tenant denies", first, "tcp");

    // What is allowed needs no rule of the tenant, and has no other way than the tenant's exit.
    let earlier = tier("earlier", 5, &rule("everybody", "Allow", first));
    scene.lab.apply_yaml(&earlier).unwrap();
    scene.answers("what administrators allow", first, "tcp");
    scene.refuses("what nobody allows", other, "tcp");

    without(&scene, "earlier");
    scene.apply("defaultAction: Allow");
    scene.answers("the tenant's own", other, "tcp");
    scene.refuses("the denial stands", first, "tcp");
    without(&scene, "company");
    scene.answers("without administrators", first, "tcp");
    scene.nothing_leaked();
}

#[test]
fn the_samples_for_administrators_deny_mail_with_and_without_a_policy_and_nothing_else() {
    let scene = Scene::up();
    let desk = serving(&scene.lab, "office/desk", PodOptions::on(NODE));
    // Nothing else of the samples names this address.
    let to = SocketAddr::from(([203, 0, 113, 200], 25));
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let packet = ["--to", &*address, "--port", &*port];
    for (sample, pod, policy) in [
        (BASELINE, "office/desk", ["Baseline", "default"]),
        (ADMIN, "crawlers/web", ["Admin", "company"]),
    ] {
        scene.lab.apply_yaml(sample).unwrap();
        wait_until(WAIT_DEADLINE, policy[1], || {
            let found = crate::explain::explained(&scene.lab, pod, &packet);
            let cause = [&found["cause"]["tier"], &found["cause"]["policy"]];
            Ok((found["verdict"] == "Denied" && cause == policy).then_some(()))
        })
        .unwrap();
        let answer = ask(&scene.lab, Exec::Pod(pod), to, &["--protocol", "tcp"]);
        assert_eq!(answer, None, "{pod}");
    }
    wait_until(WAIT_DEADLINE, "a count of the rule", || {
        Ok((denied(&scene, "company", "no-mail") > 0).then_some(()))
    })
    .unwrap();
    scene.answers("what no sample denies", own(&scene.web, 7), "tcp");
    let by_node = scene.lab.node(NODE).unwrap().addresses();
    let by_node = by_node.map(|address| address.to_string());
    desk_settles(
        &scene,
        "what no sample denies",
        own(&desk, 7),
        Some(&by_node),
    );
    scene.nothing_leaked();
}

/// What the pod `office/desk`, which no policy selects, is answered in both families: the address that the other side saw.
fn desk_settles(scene: &Scene, what: &str, to: [SocketAddr; 2], wanted: Option<&[String; 2]>) {
    for (place, to) in to.into_iter().enumerate() {
        let wanted = wanted.map(|both| both[place].clone());
        let answer = || {
            ask(
                &scene.lab,
                Exec::Pod("office/desk"),
                to,
                &["--protocol", "tcp"],
            )
        };
        let mut last = [None, None];
        let found = wait_until(WAIT_DEADLINE, what, || {
            last = [answer(), answer()];
            Ok(last.iter().all(|one| *one == wanted).then_some(()))
        });
        assert!(found.is_ok(), "{what}: {to}: {last:?}, not {wanted:?}");
    }
}

#[test]
fn pods_without_a_policy_lose_what_the_tier_baseline_denies_and_leave_by_their_node_as_before() {
    let scene = Scene::up();
    let by_node = scene
        .lab
        .node(NODE)
        .unwrap()
        .addresses()
        .map(|address| address.to_string());
    let by_exit = scene.gateway.map(|address| address.to_string());
    let desk = serving(&scene.lab, "office/desk", PodOptions::on(NODE));
    let (first, other) = (own(&desk, 7), second(&desk, 7));
    let settles = |what: &str, to, wanted: Option<&[String; 2]>| {
        desk_settles(&scene, what, to, wanted);
    };
    settles("without Postern", first, Some(&by_node));

    let baseline = of_tier("Baseline", "default", 10, &rule("never", "Deny", first));
    scene.lab.apply_yaml(&baseline).unwrap();
    settles("the tier denies it", first, None);
    settles("the tier does not name it", other, Some(&by_node));
    scene.answers(
        "whom a policy selects is not asked about",
        own(&scene.web, 7),
        "tcp",
    );

    // What the other tier passes is this one's to decide.
    let admin = |action| tier("company", 5, &rule("first", action, first));
    scene.lab.apply_yaml(&admin("Pass")).unwrap();
    scene.published(&["Pass"]);
    settles("Admin passes it", first, None);
    scene.lab.apply_yaml(&admin("Allow")).unwrap();
    settles("Admin allows it, by the node", first, Some(&by_node));
    without(&scene, "company");
    settles("without Admin", first, None);

    let tenants = crate::terms::policy("defaultAction: Allow").replace("crawlers", "office");
    scene.lab.apply_yaml(&tenants).unwrap();
    settles("a policy selects it now", first, Some(&by_exit));
    let gone = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": "office", "name": "crawler"},
    });
    scene.lab.delete(&[gone]).unwrap();
    settles("the policy is gone", first, None);
    settles("the policy is gone", other, Some(&by_node));

    without(&scene, "default");
    settles("without administrators", first, Some(&by_node));
    scene.nothing_leaked();
}
