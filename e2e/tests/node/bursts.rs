//! Many names: each answer opens its addresses before the pod has it, at any rate, and also around the death of the agent.

use std::process::{Child, Stdio};

use postern_e2e::lab::Exec;
use postern_e2e::lab::traffic::names::{NamesOutcome, named_addresses};
use postern_e2e::proof::harness::{WAIT_DEADLINE, record_run, wait_until};

use crate::holes::{WEB, lab_program};
use crate::names::named;
use crate::terms::{Scene, own};

const NODE: &str = "n1";
/// Questions that resolvers answered through an exit.
const BROUGHT: &str = "postern_agent_dns_questions_total{reason=\"exit\"}";
/// Questions in a second while the agent dies.
const RATE: u32 = 1000;

/// A number of the environment, for runs that are longer than those of every day.
fn setting(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// A lab whose policy allows the names that have an address.
fn scene() -> Scene {
    let scene = Scene::up();
    scene.apply(&named(scene.web.world[2], "{fqdn: '*.allowed.world.test'}"));
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();
    scene
}

/// The pod asks for so many names.
fn ask(scene: &Scene, count: u32, rate: u32) -> Child {
    let server = scene.web.world[2].to_string();
    let (count, rate) = (count.to_string(), rate.to_string());
    let program = lab_program();
    let line = [
        &program, "names", "--server", &server, "--count", &count, "--rate", &rate,
    ];
    let mut command = scene.lab.command(WEB, &line.map(Into::into)).unwrap();
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What became of the names. Whatever happened, nothing unfiltered came and nothing was open that no answer had named.
fn outcome(scene: &Scene, run: &str, asking: Child) -> NamesOutcome {
    let output = asking.wait_with_output().unwrap();
    let outcome: NamesOutcome = serde_json::from_slice(&output.stdout).unwrap();
    println!("{run}: {outcome:?}");
    assert_eq!(outcome.unfiltered, Vec::<String>::new());
    assert_eq!(outcome.others_connected, Vec::<String>::new());
    assert_eq!(outcome.not_connected, Vec::<String>::new());
    assert_eq!(outcome.connected, outcome.answered);
    assert_eq!(outcome.others, outcome.answered);
    // A name that no rule allows reached no server.
    for number in (8..outcome.asked).step_by(1000) {
        let asked = format!("asked.n{number}.secret.world.test");
        let server = scene.web.world[2].to_string();
        let line = [&*lab_program(), "resolve", "--server", &server, &asked];
        let told = scene.lab.exec_ok(Exec::World, &line).unwrap();
        assert_eq!(told.trim(), "NXDOMAIN", "{asked}");
    }
    scene.nothing_leaked_but(&named_addresses(outcome.asked));
    record_run(run, &outcome).unwrap();
    outcome
}

#[test]
fn each_connection_in_the_moment_of_its_answer_succeeds_and_none_to_an_address_without_a_name() {
    let scene = scene();
    let count = setting("POSTERN_NAMES", 500);
    let asking = ask(&scene, count, 200);
    let outcome = outcome(&scene, "names-connected", asking);
    let allowed = named_addresses(count).len();
    assert_eq!((outcome.failed, outcome.unanswered), (0, 0));
    assert_eq!(usize::try_from(outcome.answered).unwrap(), allowed);
    assert_eq!(outcome.refused, count - outcome.answered);
}

#[test]
fn no_answer_is_unfiltered_or_without_its_grant_while_the_agent_is_killed_and_restarted() {
    let scene = scene();
    let kills = setting("POSTERN_AGENT_KILLS", 1);
    let asking = ask(&scene, (kills * 4 + 3) * RATE, RATE);
    let brought = |at_least: u64, when: &str| {
        wait_until(WAIT_DEADLINE, &format!("answers {when}"), || {
            // The agent serves no metrics before it has started.
            let brought = scene.lab.agent_metric(NODE, BROUGHT).unwrap_or_default();
            Ok((brought >= at_least).then_some(brought))
        })
        .unwrap()
    };
    brought(100, "before the first kill");
    for kill in 1..=kills {
        scene.lab.kill("agent-n1").unwrap();
        scene.lab.start_agent(NODE).unwrap();
        brought(100, &format!("after kill {kill}"));
    }
    let outcome = outcome(&scene, "names-killed", asking);
    let ms = outcome.longest_silence_ms;
    println!(
        "{kills} kills at {RATE} questions a second: the longest outage took {ms} ms, {} of {} questions had no answer",
        outcome.unanswered, outcome.asked
    );
    assert!(outcome.unanswered > 0, "questions fell into the outage");
}
