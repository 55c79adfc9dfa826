//! What a run finds and does on a host in memory: what somebody else changed, what fails, what is lost, what goes on
//! over a restart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

mod administrators;
mod audit;
mod claim;
mod death;
mod drift;
mod egress;
mod explained;
mod failing;
mod gateways;
mod grants;
mod guarded;
mod incapable;
mod joined;
mod keys;
mod letting_go;
mod lost;
mod node;
mod observing;
mod renewals;
mod surroundings;
mod time;
mod turns;

use postern_crds::node_report::NodeReportStatus;
use postern_host_testing::fake::Call;
use postern_host_testing::fixture;
use postern_intent::{Body, Serial};

const ALWAYS: usize = usize::MAX;

/// The next body, with a change.
fn next(body: &Body, change: impl FnOnce(&mut Body)) -> Body {
    let mut next = body.clone();
    next.serial = Serial(body.serial.0 + 1);
    next.cluster_serial = Serial(body.cluster_serial.0 + 1);
    change(&mut next);
    next
}

/// How often a call was made.
fn count(calls: &[Call], call: Call) -> usize {
    calls.iter().filter(|made| **made == call).count()
}

fn message(report: &NodeReportStatus, kind: &str) -> String {
    let found = report.conditions.iter().find(|one| one.type_ == kind);
    found.expect("the condition").message.clone()
}
