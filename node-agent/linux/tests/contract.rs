//! The contract on the kernel: each case in a network namespace of its own, as root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use namespace::{host, run, within};
use postern_host_testing::contract::{OtherProgram, Outcome};
use postern_host_testing::contract_tests;
use postern_linux::LinuxHost;
use postern_plan::host::AdminState;

/// An administrator with `ip` and `nft`.
struct Administrator;

impl OtherProgram for Administrator {
    async fn sets_state(&self, link: &str, state: AdminState) {
        let word = match state {
            AdminState::Up => "up",
            AdminState::Down => "down",
        };
        run("ip", &["link", "set", link, word]);
    }

    async fn removes_link(&self, link: &str) {
        run("ip", &["link", "delete", link]);
    }

    async fn flushes_the_firewall(&self) {
        run("nft", &["flush", "ruleset"]);
    }
}

fn on_the_kernel<F: Future<Output = Outcome>>(
    case: impl FnOnce(LinuxHost, Administrator) -> F + Send + 'static,
) {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let outcome = case(host(folder.path()).await, Administrator).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {}", error.cause()));
    });
}

contract_tests!(on_the_kernel);
