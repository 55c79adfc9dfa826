//! The contract on the kernel: each case in a network namespace of its own, as root.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use postern_host::contract::{Outcome, Outsider};
use postern_host::contract_tests;
use postern_linux::{BackendPreference, LinuxHost, LinuxOptions, PrivateKey};
use postern_plan::host::AdminState;

/// An administrator with the usual tools.
struct Administrator;

impl Administrator {
    fn runs(program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Outsider for Administrator {
    async fn sets_state(&self, link: &str, state: AdminState) {
        let word = match state {
            AdminState::Up => "up",
            AdminState::Down => "down",
        };
        Self::runs("ip", &["link", "set", link, word]);
    }

    async fn removes_link(&self, link: &str) {
        Self::runs("ip", &["link", "delete", link]);
    }

    async fn flushes_the_firewall(&self) {
        Self::runs("nft", &["flush", "ruleset"]);
    }
}

/// Runs a case in a thread with a network namespace of its own; the namespace goes with the thread.
fn in_a_namespace<F: Future<Output = Outcome>>(case: impl FnOnce(LinuxHost, Administrator) -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of one's own needs root");
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = LinuxOptions {
                run_dir: folder.path().to_owned(),
                private_key: PrivateKey::from_bytes([7; 32]),
                backend: BackendPreference::Userspace,
            };
            let host = LinuxHost::new(options).await.unwrap();
            case(host, Administrator).await.unwrap_or_else(|error| panic!("{error}: {}", error.cause()));
        });
    });
    if let Err(broken) = thread.join() {
        std::panic::resume_unwind(broken);
    }
}

contract_tests!(in_a_namespace);
