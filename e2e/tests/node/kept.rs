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

/// The set of the connections that the scope keeps.
fn set(scene: &Scene) -> String {
    let list = "nft list sets inet | sed -n 's/.*set \\(flows_[^ ]*\\) .*/\\1/p'";
    scene.lab.shell(NODE, list).unwrap().trim().to_owned()
}

/// For how many seconds from now the kernel remembers each connection of the scope.
fn remembered(scene: &Scene) -> Vec<u64> {
    let list = format!(
        "nft -j list set inet postern {} | jq -c '[.nftables[].set | select(.) | .elem // [] | .[].elem.expires]'",
        set(scene)
    );
    let text = scene.lab.shell(NODE, &list).unwrap();
    serde_json::from_str(text.trim()).unwrap()
}

fn await_remembered(scene: &Scene, what: &str, wanted: impl Fn(&[u64]) -> bool) {
    let mut last = Vec::new();
    let found = wait_until(WAIT_DEADLINE, what, || {
        last = remembered(scene);
        Ok(wanted(&last).then_some(()))
    });
    assert!(found.is_ok(), "{what}: {last:?}");
}

#[test]
fn a_connection_that_ended_leaves_the_set_soon_and_a_full_set_is_counted() {
    let scene = keeping();
    let flush = format!("nft flush set inet postern {}", set(&scene));
    scene.lab.shell(NODE, &flush).unwrap();
    let is_short = |seconds: u64| seconds <= 180;
    let is_long = |seconds: u64| (10_000..=10_800).contains(&seconds);
    let mut open = Talk::converse(&scene.lab, &scene.web, 0);
    open.goes_on("while it is remembered");
    await_remembered(&scene, "an open one", |all| {
        all.iter().any(|one| is_long(*one))
    });
    // The question of `answers` is a connection that ends at once.
    scene.answers("a connection that ends", own(&scene.web, 7), "tcp");
    let ended = |all: &[u64]| all.len() > 2 && all.iter().filter(|one| is_long(**one)).count() == 1;
    await_remembered(&scene, "the ended ones", ended);

    // The same rules with room for one connection, and no agent that repairs them.
    scene.lab.kill("agent-n1").unwrap();
    drop(open);
    let smaller = format!(
        "table=$(mktemp) && nft flush set inet postern {} && nft list table inet postern > $table && \
         (echo 'delete table inet postern'; sed '/set flows_/,/}}/ s/size 262144/size 1/' $table) | nft -f - && rm $table",
        set(&scene)
    );
    scene.lab.shell(NODE, &smaller).unwrap();
    let full = || {
        let list = "nft -j list counter inet postern keep_full | jq '.nftables[1].counter.packets'";
        let text = scene.lab.shell(NODE, list).unwrap();
        text.trim().parse::<u64>().unwrap()
    };
    let mut first = Talk::converse(&scene.lab, &scene.web, 0);
    first.goes_on("while ended ones may have the room");
    let empty = format!(
        "nft flush set inet postern {} && nft reset counter inet postern keep_full",
        set(&scene)
    );
    scene.lab.shell(NODE, &empty).unwrap();
    first.goes_on("with room for it");
    assert_eq!(full(), 0);
    let mut second = Talk::converse(&scene.lab, &scene.web, 1);
    second.goes_on("without room");
    assert!(full() > 0);
    drop((first, second));
    scene.lab.start_agent(NODE).unwrap();
    scene.in_force();
    let mut datagrams = Talk::datagrams(&scene.lab, &scene.web, 1);
    datagrams.goes_on("with the agent's own rules");
    let all_short = |all: &[u64]| !all.is_empty() && all.iter().all(|one| is_short(*one));
    await_remembered(&scene, "datagrams", all_short);
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
