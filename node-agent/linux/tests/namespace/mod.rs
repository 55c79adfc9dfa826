//! A network namespace for each test.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use postern_linux::{BackendPreference, LinuxHost, LinuxOptions, PrivateKey};

/// The node's key in tests.
pub(crate) fn node_key() -> PrivateKey {
    PrivateKey::from_bytes([7; 32])
}

/// Runs a program in the thread's namespace; it must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The kernel of the thread's namespace.
pub(crate) async fn host(run_dir: &Path) -> LinuxHost {
    let options = LinuxOptions {
        run_dir: run_dir.to_owned(),
        private_key: node_key(),
        backend: BackendPreference::Userspace,
    };
    LinuxHost::new(options)
}

/// Runs a test in a thread with a network namespace of its own, which ends with the thread.
pub(crate) fn within<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of one's own needs root");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    if let Err(broken) = thread.join() {
        std::panic::resume_unwind(broken);
    }
}
