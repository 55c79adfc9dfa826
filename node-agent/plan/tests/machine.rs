//! The invariants of the state machine, stated without looking at its table: they walk `step` itself, from the first
//! state, with every event.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_intent::body::BlockedReason;
use postern_plan::check::Seal;
use postern_plan::machine::event::EventKind;
use postern_plan::machine::{Cause, Event, Posture, State, StateKind, step};

const EVENTS: [Event; 16] = [
    Event::Claimed,
    Event::ClaimedBlocked(BlockedReason::NoExit),
    Event::SealVerified,
    Event::SealFailed,
    Event::Applied,
    Event::ApplyFailed,
    Event::Verified,
    Event::Mismatched,
    Event::LeaseGiven,
    Event::ExitLost,
    Event::NoTunnel,
    Event::OpenTimeElapsed,
    Event::Expired,
    Event::ReleaseAccepted,
    Event::ReleaseDone,
    Event::Dropped,
];

const SEALS: [Seal; 2] = [Seal::Sealed, Seal::NotSealed];

/// One state with every kind that it may carry something in.
fn states() -> Vec<State> {
    let blocked = [
        Cause::Body(BlockedReason::NoExit),
        Cause::Expired,
        Cause::NoTunnel,
        Cause::NoGuard,
        Cause::ExitLost,
        Cause::ApplyFailed,
    ];
    let mut states = vec![
        State::Unclaimed,
        State::Sealing,
        State::Converging,
        State::Verifying,
        State::Opening,
        State::Enforcing,
        State::Degraded,
        State::FailedOpen {
            since: Timestamp::UNIX_EPOCH,
        },
        State::Releasing,
    ];
    for cause in blocked {
        for seal in SEALS {
            states.push(State::Blocked { cause, seal });
        }
    }
    states
}

/// Every step that there is: state, event, seal, state after.
fn steps() -> Vec<(State, Event, Seal, State)> {
    let mut out = Vec::new();
    for state in states() {
        for event in EVENTS {
            for seal in SEALS {
                out.push((
                    state,
                    event,
                    seal,
                    step(state, event, seal, Timestamp::UNIX_EPOCH),
                ));
            }
        }
    }
    out
}

/// Which kinds can be reached from a kind when only some events happen.
fn reachable(from: StateKind, happens: impl Fn(EventKind) -> bool) -> BTreeSet<StateKind> {
    let mut edges: BTreeMap<StateKind, BTreeSet<StateKind>> = BTreeMap::new();
    for (state, event, _, after) in steps() {
        if happens(event.kind()) {
            edges.entry(state.kind()).or_default().insert(after.kind());
        }
    }
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(kind) = open.pop() {
        for next in edges.get(&kind).into_iter().flatten() {
            if seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    seen
}

/// The claimed states, named one by one here and nowhere derived.
const CLAIMED: [StateKind; 9] = [
    StateKind::Sealing,
    StateKind::Converging,
    StateKind::Verifying,
    StateKind::Opening,
    StateKind::Enforcing,
    StateKind::Degraded,
    StateKind::Blocked,
    StateKind::FailedOpen,
    StateKind::Releasing,
];

#[test]
fn the_lists_of_this_test_are_complete() {
    let events: BTreeSet<EventKind> = EVENTS.iter().map(Event::kind).collect();
    assert_eq!(events, EventKind::ALL.into_iter().collect());
    let kinds: BTreeSet<StateKind> = states().iter().map(State::kind).collect();
    assert_eq!(kinds, StateKind::ALL.into_iter().collect());
    let named: BTreeSet<StateKind> = CLAIMED.into_iter().chain([StateKind::Unclaimed]).collect();
    assert_eq!(kinds, named);
}

#[test]
fn a_closed_scope_lets_nothing_out_but_by_its_exit_in_every_state_but_unclaimed() {
    // The agent never says `OpenTimeElapsed` to a scope whose body says Closed.
    let closed = reachable(StateKind::Unclaimed, |event| {
        event != EventKind::OpenTimeElapsed
    });
    assert!(!closed.contains(&StateKind::FailedOpen));
    for state in closed {
        let open = Posture::of(state) == Posture::Open;
        assert_eq!(
            open,
            state == StateKind::Unclaimed,
            "{}: {}",
            state.word(),
            Posture::of(state)
        );
    }
}

#[test]
fn blocked_and_every_state_before_the_guard_stands_is_sealed() {
    for state in [
        StateKind::Sealing,
        StateKind::Converging,
        StateKind::Blocked,
        StateKind::Releasing,
    ] {
        assert_eq!(Posture::of(state), Posture::Sealed, "{}", state.word());
    }
}

#[test]
fn every_state_can_be_reached_and_every_one_can_be_left_for_enforcing() {
    let all: BTreeSet<StateKind> = StateKind::ALL.into_iter().collect();
    assert_eq!(reachable(StateKind::Unclaimed, |_| true), all);
    for state in StateKind::ALL {
        let onward = reachable(state, |_| true);
        assert!(
            onward.contains(&StateKind::Enforcing),
            "{} is a dead end",
            state.word()
        );
    }
}

#[test]
fn every_pair_of_state_and_event_has_one_answer_and_saying_it_twice_changes_nothing() {
    for (state, event, seal, after) in steps() {
        let again = step(after, event, seal, Timestamp::UNIX_EPOCH);
        assert_eq!(
            again,
            after,
            "{state:?} on {:?} goes on when told twice",
            event.kind()
        );
    }
}

#[test]
fn only_a_claim_takes_a_scope_out_of_unclaimed() {
    for (state, event, _, after) in steps() {
        if state == State::Unclaimed && after != state {
            assert!(
                matches!(event.kind(), EventKind::Claimed | EventKind::ClaimedBlocked),
                "{event:?}"
            );
        }
    }
}

#[test]
fn a_claimed_scope_returns_to_unclaimed_only_from_releasing_when_the_release_is_done() {
    for (state, event, _, after) in steps() {
        if state != State::Unclaimed && after == State::Unclaimed {
            assert_eq!(
                (state, event.kind()),
                (State::Releasing, EventKind::ReleaseDone)
            );
        }
    }
}

#[test]
fn only_a_release_or_a_body_without_the_scope_starts_releasing() {
    for (state, event, _, after) in steps() {
        if state != State::Releasing && after == State::Releasing {
            let kind = event.kind();
            assert!(
                matches!(kind, EventKind::ReleaseAccepted | EventKind::Dropped),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn a_missing_capability_never_opens_a_claimed_scope() {
    let failures = [
        EventKind::SealFailed,
        EventKind::NoTunnel,
        EventKind::ApplyFailed,
        EventKind::Mismatched,
        EventKind::ExitLost,
        EventKind::Expired,
    ];
    for (state, event, _, after) in steps() {
        if failures.contains(&event.kind()) && after != state {
            assert_ne!(
                Posture::of(after.kind()),
                Posture::Open,
                "{state:?} on {event:?}"
            );
        }
    }
    for claimed in CLAIMED {
        let after = reachable(claimed, |event| failures.contains(&event));
        assert!(!after.contains(&StateKind::Unclaimed), "{}", claimed.word());
    }
}

#[test]
fn only_a_blocked_scope_fails_open_and_only_when_its_time_has_elapsed() {
    for (state, event, _, after) in steps() {
        if state.kind() != StateKind::FailedOpen && after.kind() == StateKind::FailedOpen {
            assert_eq!(
                (state.kind(), event.kind()),
                (StateKind::Blocked, EventKind::OpenTimeElapsed)
            );
        }
    }
}

#[test]
fn a_block_says_whether_it_holds_and_never_holds_on_hearsay() {
    for (state, event, seal, after) in steps() {
        let State::Blocked { cause, seal: holds } = after else {
            continue;
        };
        if after == state {
            continue;
        }
        let expected = if event.kind() == EventKind::SealFailed {
            Seal::NotSealed
        } else {
            seal
        };
        assert_eq!(holds, expected, "{state:?} on {event:?}");
        assert_eq!(cause, event.cause(), "{state:?} on {event:?}");
    }
}

#[test]
fn nothing_is_enforced_before_the_guard_the_reading_and_the_lease() {
    let way = [
        EventKind::SealVerified,
        EventKind::Applied,
        EventKind::Verified,
        EventKind::LeaseGiven,
    ];
    for missing in way {
        let seen = reachable(StateKind::Unclaimed, |event| event != missing);
        assert!(!seen.contains(&StateKind::Enforcing), "without {missing:?}");
    }
}

#[test]
fn a_scope_waits_for_ever_only_where_it_may_rest() {
    let resting: BTreeSet<StateKind> = StateKind::ALL
        .into_iter()
        .filter(|state| state.patience().is_none())
        .collect();
    let expected = [
        StateKind::Unclaimed,
        StateKind::Enforcing,
        StateKind::Degraded,
        StateKind::Blocked,
        StateKind::FailedOpen,
    ];
    assert_eq!(resting, expected.into_iter().collect());
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the crate is pure; this test of its page is not"
)]
fn the_page_for_people_is_printed_from_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/state-machine.md");
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(
        page == postern_plan::machine::print::markdown(),
        "docs/state-machine.md is stale: cargo run -p postern-plan --example write_state_machine"
    );
}
