//! `establishedFlows: Keep`: connections that were let out before the policy became stricter go on, and new ones are refused.

use postern_e2e::proof::harness::{WAIT_DEADLINE, exit, wait_until};
use postern_intent::body::TermsEstablishedFlows;

use crate::holes::Talk;
use crate::terms::{GATEWAY, Scene, own, policy, second};

const NODE: &str = "n1";
const KEPT: &str = "establishedFlows: Keep";

/// A scene whose policy allows everything and keeps connections, in force on the node.
fn keeping() -> Scene {
    let scene = Scene::up();
    scene.apply(&format!("defaultAction: Allow\n  {KEPT}"));
    wait_until(WAIT_DEADLINE, "an intent that keeps connections", || {
        let body = scene.lab.current_body(NODE)?;
        let mut scopes = body.firewall.iter();
        let keeps = |flows| flows == TermsEstablishedFlows::Keep;
        Ok(scopes
            .any(|scope| keeps(scope.terms.established_flows))
            .then_some(()))
    })
    .unwrap();
    scene.in_force();
    scene
}

/// A conversation by TCP, one by UDP and echoes, in both families.
fn talks(scene: &Scene) -> Vec<Talk> {
    let of = |family: usize| {
        [
            Talk::converse(&scene.lab, &scene.web, family),
            Talk::datagrams(&scene.lab, &scene.web, family),
            Talk::echo(&scene.lab, &scene.web, family),
        ]
    };
    [0, 1].into_iter().flat_map(of).collect()
}

#[test]
fn what_was_open_before_a_stricter_policy_goes_on_and_nothing_new_is_let_out() {
    let scene = keeping();
    let mut talks = talks(&scene);
    let mut go_on = |when: &str| talks.iter_mut().for_each(|talk| talk.goes_on(when));
    scene.apply(&format!("defaultAction: Deny\n  {KEPT}"));
    for protocol in ["tcp", "udp"] {
        scene.refuses("a new connection", own(&scene.web, 7), protocol);
        scene.refuses("another address", second(&scene.web, 7), protocol);
    }
    go_on("while new ones are refused");
    scene.lab.kill("agent-n1").unwrap();
    go_on("without the agent");
    scene.lab.start_agent(NODE).unwrap();
    scene.in_force();
    go_on("after the agent came back");
    scene.apply("defaultAction: Deny");
    talks.iter_mut().for_each(Talk::ends);
    scene.nothing_leaked();
}

#[test]
fn a_kept_connection_ends_with_its_policy_and_with_its_exit() {
    let scene = keeping();
    let deny = || scene.apply(&format!("defaultAction: Deny\n  {KEPT}"));
    let allow = |what: &str| {
        scene.apply(&format!("defaultAction: Allow\n  {KEPT}"));
        scene.answers(what, own(&scene.web, 7), "tcp");
    };
    let mut first = talks(&scene);
    deny();
    scene.refuses("a new connection", own(&scene.web, 7), "tcp");
    let stricter = policy(&format!("defaultAction: Deny\n  priority: 1000\n  {KEPT}"))
        .replace("name: crawler}", "name: quarantine}");
    scene.lab.apply_yaml(&stricter).unwrap();
    first.iter_mut().for_each(Talk::ends);
    scene.lab.delete_yaml(&stricter).unwrap();

    allow("by the first policy again");
    let mut second = talks(&scene);
    deny();
    scene.refuses("a new connection once more", own(&scene.web, 7), "tcp");
    scene
        .lab
        .apply_yaml(&exit("us", GATEWAY, "\n  lanAccess: Deny"))
        .unwrap();
    let other = policy(&format!("defaultAction: Deny\n  {KEPT}")).replace("name: eu", "name: us");
    scene.lab.apply_yaml(&other).unwrap();
    second.iter_mut().for_each(Talk::ends);
    scene.nothing_leaked();
}
