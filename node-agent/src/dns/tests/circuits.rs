//! A resolver that is dead, and what its circuit does about it.

use std::time::{Duration, Instant};

use postern_agent_core::circuit::LONGEST_OPEN;
use postern_plan::desired::dns::DnsEntry;

use super::super::QuestionOutcome;
use super::dig::{Answer, dig};
use super::namespace::{alone, full_name};
use super::world::{WORLD, World, entry};

const DEAD: &str = "203.0.113.53";
/// A question that waits for the dead resolver takes 2 s at least.
const FAST: Duration = Duration::from_millis(1500);
/// Questions in 8 s, of which at most three wait, on a machine under load too.
const MOST_ARE_FAST: u32 = 10;

/// The world, in which the first resolver takes no packet and counts those that come.
fn world(upstreams: &[&str]) -> World {
    let world = World::new();
    let upstreams = upstreams.iter().map(|one| format!("{one}:53"));
    world.set(&DnsEntry {
        scope: Some("crawlers/web@berlin".parse().unwrap()),
        upstreams: upstreams.map(|one| one.parse().unwrap()).collect(),
        ..entry()
    });
    for line in [
        "nft add table inet dead".to_owned(),
        "nft add chain inet dead in { type filter hook input priority 0 ; }".to_owned(),
        format!("nft add rule inet dead in ip daddr {DEAD} counter drop"),
    ] {
        world.world.run(&line);
    }
    world
}

/// Packets that came to the dead resolver.
fn arrived(world: &World) -> u64 {
    let line = world.world.line("nft list chain inet dead in");
    let mut words = line.split_whitespace();
    let output = std::process::Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, counted) = text.split_once("counter packets ").unwrap();
    counted.split(' ').next().unwrap().parse().unwrap()
}

fn timed(world: &World) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = dig(&world.pods[0], "@203.0.113.53 example.com A");
    (answer, began.elapsed())
}

/// Asks until an answer comes fast; how long that took.
fn until_fast(world: &World) -> Duration {
    let began = Instant::now();
    while timed(world).1 > FAST {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    began.elapsed()
}

/// Asks for so long; how many questions were asked, and how many of them waited for the dead resolver.
fn ask_for(world: &World, period: Duration, wanted: &Answer) -> (u32, u32) {
    let began = Instant::now();
    let (mut asked, mut slow) = (0, 0);
    while began.elapsed() < period {
        let (answer, took) = timed(world);
        assert_eq!(&answer, wanted);
        asked += 1;
        slow += u32::from(took > FAST);
    }
    (asked, slow)
}

#[test]
fn a_dead_resolver_costs_few_questions_their_time_while_another_one_answers_and_is_asked_again_when_it_is_back()
 {
    alone(
        full_name!(
            "a_dead_resolver_costs_few_questions_their_time_while_another_one_answers_and_is_asked_again_when_it_is_back"
        ),
        || {
            let world = world(&[DEAD, "203.0.113.54"]);
            let opened = until_fast(&world);
            let before = arrived(&world);
            let answered = Answer::of("NOERROR", &[WORLD]);
            let (asked, slow) = ask_for(&world, Duration::from_secs(8), &answered);
            let sent = arrived(&world) - before;
            println!(
                "open after {opened:?}; then {asked} questions, {slow} slow, {sent} packets to the dead one"
            );
            // In 8 s there is room for the trials after 1 and 2 s and perhaps 4 s, and each is asked for the root too.
            assert!(
                asked > MOST_ARE_FAST && slow <= 3 && sent <= 6,
                "{asked} {slow} {sent}"
            );

            world.world.run("nft flush chain inet dead in");
            let rule = format!("nft add rule inet dead in ip daddr {DEAD} counter");
            world.world.run(&rule);
            let back = Instant::now();
            // A trial is asked for the root too, so that three questions in a row are what a closed circuit lets through.
            let mut in_a_row = 0;
            while in_a_row < 3 {
                assert!(back.elapsed() < LONGEST_OPEN + Duration::from_secs(2));
                let before = arrived(&world);
                timed(&world);
                in_a_row = if arrived(&world) > before {
                    in_a_row + 1
                } else {
                    0
                };
            }
            println!("closed {:?} after it was back", back.elapsed());
        },
    );
}

#[test]
fn where_all_resolvers_are_dead_questions_fail_at_once_and_no_other_resolver_is_asked() {
    alone(
        full_name!(
            "where_all_resolvers_are_dead_questions_fail_at_once_and_no_other_resolver_is_asked"
        ),
        || {
            let world = world(&[DEAD]);
            let opened = until_fast(&world);
            let before = arrived(&world);
            let failed = Answer::of("SERVFAIL", &[]);
            let (asked, slow) = ask_for(&world, Duration::from_secs(8), &failed);
            let sent = arrived(&world) - before;
            println!("open after {opened:?}; then {asked} questions, {slow} slow, {sent} packets");
            assert!(
                asked > MOST_ARE_FAST && slow <= 3 && sent <= 6,
                "{asked} {slow} {sent}"
            );
            let not_asked = world.counters.get(QuestionOutcome::NotAsked);
            assert!(not_asked >= u64::from(asked - slow), "{not_asked}");
            assert_eq!(world.outside.asked(), []);
        },
    );
}

#[test]
fn a_pod_that_asks_for_names_whose_owners_are_silent_closes_a_living_resolver_to_nobody_for_long() {
    alone(
        full_name!(
            "a_pod_that_asks_for_names_whose_owners_are_silent_closes_a_living_resolver_to_nobody_for_long"
        ),
        || {
            let world = world(&["203.0.113.54"]);
            let ask = |name: &str| dig(&world.pods[0], &format!("@203.0.113.53 {name}.example A"));
            while world.counters.get(QuestionOutcome::NotAsked) == 0 {
                assert_eq!(ask("silent"), Answer::of("SERVFAIL", &[]));
            }
            // The next one that waits is the trial; the root is asked for beside it, and that is answered.
            let mut began = Instant::now();
            while ask("silent") == Answer::of("SERVFAIL", &[]) && began.elapsed() < FAST {
                began = Instant::now();
            }
            assert_eq!(ask("other"), Answer::of("NOERROR", &[WORLD]));
        },
    );
}
