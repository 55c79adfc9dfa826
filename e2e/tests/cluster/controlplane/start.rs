//! A lab with an API server and without programs of Postern.

use std::time::Duration;

use postern_e2e::lab::error::chain;
use postern_e2e::lab::{Programs, UpOptions};
use postern_e2e::proof::harness::TestLab;

pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) fn cluster() -> TestLab {
    TestLab::up(&UpOptions::on_api_server(2, Programs::Bare)).unwrap()
}

/// What kubectl complains about when it fails.
pub(super) fn complaint(lab: &TestLab, arguments: &[&str]) -> String {
    chain(&lab.kubectl_ok(arguments).unwrap_err())
}
