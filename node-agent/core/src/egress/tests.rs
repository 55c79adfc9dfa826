use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn on(device: &str) -> EgressAddress {
    EgressAddress {
        device: device.parse().unwrap(),
        address: "192.0.2.10".parse().unwrap(),
    }
}

fn at(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

fn order(term: EgressTerm) -> EgressOrder {
    EgressOrder {
        wanted: vec![WantedEgress {
            exit: "eu".parse().unwrap(),
            on: on("eth0"),
            term,
        }],
        not_after: at(600),
        serial: Serial(1),
    }
}

fn reading(there: &[&str], confirmed: Option<i64>) -> EgressReading {
    EgressReading {
        there: there.iter().map(|device| (on(device), 20)).collect(),
        foreign: BTreeSet::new(),
        confirmed_until: confirmed.map(at),
    }
}

fn remembered(memory: EgressMemory) -> BTreeMap<EgressAddress, EgressMemory> {
    [(on("eth0"), memory)].into()
}

fn keep(seconds: u32) -> EgressAct {
    EgressAct::Keep(on("eth0"), NonZeroU32::new(seconds).unwrap())
}

fn decided(
    term: EgressTerm,
    reading: &EgressReading,
    memory: EgressMemory,
) -> (Vec<EgressAct>, EgressState) {
    let (acts, mut states) = decide(&order(term), reading, &remembered(memory), NOW);
    (acts, states.remove(0).1)
}

#[test]
fn the_neighbours_are_asked_before_an_address_is_added() {
    let nothing = EgressMemory::default();
    let (acts, state) = decided(EgressTerm::Intent, &reading(&[], None), nothing);
    assert_eq!(acts, [EgressAct::Ask(on("eth0"))]);
    assert_eq!(state, EgressState::Coming);
    let asked = |at, answer| EgressMemory {
        asked: Some((at, answer)),
        ..EgressMemory::default()
    };
    let free = asked(at(-1), None);
    let (acts, _) = decided(EgressTerm::Intent, &reading(&[], None), free);
    assert_eq!(acts, [keep(20)], "a short time first");
    let (acts, _) = decided(
        EgressTerm::Intent,
        &reading(&["eth0"], None),
        EgressMemory::default(),
    );
    assert_eq!(acts, [keep(600)]);
    let old = asked(at(-3), None);
    let (acts, _) = decided(EgressTerm::Intent, &reading(&[], None), old);
    assert_eq!(acts, [EgressAct::Ask(on("eth0"))]);
}

#[test]
fn an_address_that_a_neighbour_has_is_not_taken_and_is_asked_for_again() {
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    for (since, acts) in [(-1, vec![]), (-5, vec![EgressAct::Ask(on("eth0"))])] {
        let memory = EgressMemory {
            asked: Some((at(since), Some(mac))),
            ..EgressMemory::default()
        };
        let found = decided(EgressTerm::Intent, &reading(&[], None), memory);
        assert_eq!(found, (acts, EgressState::Taken(mac)));
    }
}

#[test]
fn an_address_for_which_another_gateway_waits_ends_with_what_the_api_server_confirmed() {
    let nothing = EgressMemory::default;
    let confirmed =
        |there: &[&str], until| decided(EgressTerm::Confirmed, &reading(there, until), nothing());
    let announce = vec![EgressAct::Announce(on("eth0"))];
    assert_eq!(
        confirmed(&["eth0"], Some(20)),
        (announce, EgressState::Held)
    );
    assert_eq!(
        confirmed(&["eth0"], Some(15)),
        (vec![keep(15)], EgressState::Held)
    );
    // Its last second is over: less than a second cannot be given.
    for until in [Some(0), Some(-3)] {
        let dropped = vec![EgressAct::Drop(on("eth0"))];
        assert_eq!(
            confirmed(&["eth0"], until),
            (dropped, EgressState::Unconfirmed),
            "{until:?}"
        );
    }
    assert_eq!(confirmed(&[], None), (vec![], EgressState::Unconfirmed));
}

#[test]
fn an_agent_that_starts_leaves_an_address_to_its_end_until_the_api_server_has_answered() {
    let nothing = EgressMemory::default();
    let mut there = reading(&["eth0"], None);
    let found = decided(EgressTerm::Confirmed, &there, nothing.clone());
    assert_eq!(found, (vec![], EgressState::Coming));
    // It had the address without a confirmation, and no answer has come yet.
    there.there.insert(on("eth0"), 21);
    let found = decided(EgressTerm::Confirmed, &there, nothing);
    assert_eq!(found, (vec![keep(20)], EgressState::Coming));
}

#[test]
fn a_body_is_followed_when_no_other_address_is_left_and_none_is_kept_too_long() {
    let mut body = postern_host_testing::fixture::gateway(&["192.0.2.10"]);
    let mut findings = EgressFindings {
        serial: body.serial,
        there: Some([on("eth0")].into()),
        ..EgressFindings::default()
    };
    assert!(findings.follows(&body));
    findings.serial = Serial(body.serial.0 - 1);
    assert!(!findings.follows(&body), "an older intent");
    findings.serial = body.serial;
    findings.unfenced.insert(on("eth0"));
    assert!(!findings.follows(&body), "kept too long");
    findings.unfenced.clear();
    body.nat[0].egress_term = EgressTerm::Awaited;
    assert!(!findings.follows(&body), "it is not given");
    findings.there = Some(BTreeSet::new());
    assert!(findings.follows(&body), "it went");
    let idle = EgressFindings {
        there: Some(BTreeSet::new()),
        ..EgressFindings::default()
    };
    assert!(idle.follows(&body));
    assert!(!EgressFindings::default().follows(&body));
}

#[test]
fn an_address_that_a_former_gateway_may_have_is_dropped_and_not_asked_for() {
    let there = reading(&["eth0"], Some(20));
    let (acts, state) = decided(EgressTerm::Awaited, &there, EgressMemory::default());
    assert_eq!(acts, [EgressAct::Drop(on("eth0"))]);
    assert_eq!(state, EgressState::Awaited);
}

#[test]
fn of_two_exits_that_name_one_address_the_one_that_asks_for_less_counts() {
    let mut both = order(EgressTerm::Intent);
    both.wanted.extend(order(EgressTerm::Confirmed).wanted);
    let there = reading(&["eth0"], Some(20));
    let (acts, states) = decide(&both, &there, &BTreeMap::new(), NOW);
    assert_eq!(acts, [EgressAct::Announce(on("eth0"))]);
    assert!(states.iter().all(|(_, state)| *state == EgressState::Held));
}

#[test]
fn an_address_of_another_program_is_left_alone_and_one_on_another_link_goes_first() {
    let mut found = reading(&[], None);
    found.foreign.insert(on("eth0").address);
    let left = decided(EgressTerm::Intent, &found, EgressMemory::default());
    assert_eq!(left, (vec![], EgressState::OfNode));
    let moved = reading(&["eth1"], None);
    let (acts, _) = decided(EgressTerm::Intent, &moved, EgressMemory::default());
    let wanted = [EgressAct::Drop(on("eth1")), EgressAct::Ask(on("eth0"))];
    assert_eq!(acts, wanted);
}

#[test]
fn an_address_is_prolonged_when_its_end_moves_and_announced_four_times_soon_and_then_at_times() {
    let acts = |lasts, announced| {
        let mut reading = reading(&["eth0"], Some(20));
        reading.there.insert(on("eth0"), lasts);
        let memory = EgressMemory {
            announced,
            ..EgressMemory::default()
        };
        decided(EgressTerm::Confirmed, &reading, memory).0
    };
    let announce = vec![EgressAct::Announce(on("eth0"))];
    assert_eq!(acts(18, None), [keep(20)]);
    assert_eq!(acts(22, None), [keep(20)], "it would end too late");
    assert_eq!(acts(19, None), announce);
    assert_eq!(acts(21, None), announce);
    assert_eq!(acts(20, Some((1, at(-1)))), announce);
    assert_eq!(acts(20, Some((3, at(0)))), []);
    assert_eq!(acts(20, Some((4, at(-29)))), []);
    assert_eq!(acts(20, Some((4, at(-30)))), announce);
}
