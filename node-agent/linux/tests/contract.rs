//! The contract on the kernel: each case in a network namespace of its own, as root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use namespace::{host, run, within};
use postern_host_testing::contract::{CaseResult, OtherProgram};
use postern_host_testing::contract_tests;
use postern_linux::LinuxHost;
use postern_plan::flow::FlowEntry;
use postern_plan::host::{AdminState, LockAction, LockPolicy};

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

    async fn adds_lock(&self, policy: &LockPolicy) {
        let (source, destination) = (policy.source.to_string(), policy.destination.to_string());
        let priority = policy.priority.to_string();
        let action = match policy.action {
            LockAction::Allow => "allow",
            LockAction::Block => "block",
        };
        let words = ["xfrm", "policy", "add", "src", &source, "dst", &destination];
        let more = ["dir", "fwd", "priority", &priority, "action", action];
        run("ip", &[&words[..], &more].concat());
    }

    async fn lists_locks(&self) -> usize {
        run("ip", &["xfrm", "policy", "list"])
            .matches("dir fwd")
            .count()
    }

    async fn opens_flow(&self, flow: &FlowEntry) {
        let ends = [flow.original.0, flow.original.1, flow.reply.0, flow.reply.1];
        let addresses = ends.map(|end| end.ip().to_string());
        let ports = ends.map(|end| end.port().to_string());
        let protocol = flow.protocol.to_string();
        let mut words = vec!["-I", "-p", &protocol, "-t", "60", "-u", "SEEN_REPLY"];
        if flow.protocol == 6 {
            words.extend(["--state", "ESTABLISHED"]);
        }
        let flags = ["-s", "-d", "-r", "-q"];
        words.extend(
            flags
                .iter()
                .zip(&addresses)
                .flat_map(|(flag, word)| [*flag, word]),
        );
        let flags = ["--sport", "--dport", "--reply-port-src", "--reply-port-dst"];
        words.extend(
            flags
                .iter()
                .zip(&ports)
                .flat_map(|(flag, word)| [*flag, word]),
        );
        run("conntrack", &words);
    }
}

fn on_the_kernel<F: Future<Output = CaseResult>>(
    case: impl FnOnce(LinuxHost, Administrator) -> F + Send + 'static,
) {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let outcome = case(host(folder.path()).await, Administrator).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {}", error.cause()));
    });
}

contract_tests!(on_the_kernel);
