//! What ends on a real API server while pods send: the API server itself, for a minute.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster ends::`, as root; the first run builds Kubernetes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_e2e::proof::harness::{After, FLOWS, WAIT_DEADLINE, wait_until};

use crate::plane::{LONG, another, cluster};

/// How long the API server is away.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_minute_without_an_api_server_changes_nothing_and_what_came_meanwhile_is_taken_up() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let away = |lab: &postern_e2e::lab::Lab| {
        lab.stop_api_server()?;
        let begun = Instant::now();
        wait_until(LONG, "a minute without an API server", || {
            sender.await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE)?;
            Ok((begun.elapsed() >= MINUTE).then_some(()))
        })?;
        lab.restart_api_server()
    };
    let case = "API server away for a minute";
    let proof = lab.prove(case, &sender, After::Flows, away).unwrap();
    assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
    let late = another(&lab, "late").unwrap();
    wait_until(LONG, "packets of a new pod by the exit", || {
        Ok((lab.pod_since(&late, Timestamp::MIN)?.exited > 0).then_some(()))
    })
    .unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
