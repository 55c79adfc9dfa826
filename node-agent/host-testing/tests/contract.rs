//! The contract on the fake.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

use postern_host_testing::contract::CaseResult;
use postern_host_testing::contract_tests;
use postern_host_testing::fake::FakeHost;

fn on_the_fake<F: Future<Output = CaseResult>>(case: impl FnOnce(FakeHost, FakeHost) -> F) {
    let host = FakeHost::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(case(host.clone(), host)).unwrap();
}

contract_tests!(on_the_fake);
