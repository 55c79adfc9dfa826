//! Network namespaces that end with the process that holds them.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// Set in the process that a test starts for itself.
const INSIDE: &str = "POSTERN_DNS_TEST_INSIDE";

/// The full name of a test in the module that says it, as the test program lists it.
macro_rules! full_name {
    ($name:literal) => {
        concat!(module_path!(), "::", $name)
    };
}
pub(super) use full_name;

/// Runs a test in a process, a user namespace and a network namespace of its own, where it is root
/// and its sockets meet nobody else's.
///
/// `path` is the test's name as the test program lists it; the count of passed tests is looked at,
/// so that a wrong one does not pass by running nothing.
pub(super) fn alone(path: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let path = path.split_once("::").map_or(path, |(_, path)| path);
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", path, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is needed for this test");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}

/// Polls until `done`; the message says what did not happen.
pub(super) fn eventually(what: &str, done: impl FnMut() -> bool) {
    postern_host_testing::patience::eventually(Duration::from_secs(10), what, done);
}

/// Runs a command line that has to succeed.
pub(super) fn run(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A host of the test's: a network namespace held by a sleeping process.
pub(super) struct Host(Child);

impl Host {
    pub(super) fn start() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "--", "sleep", "120"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let host = Self(holder);
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        eventually("a host has a namespace of its own", || {
            std::fs::read_link(host.path()).is_ok_and(|found| found != own)
        });
        host.run("ip link set lo up");
        host
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid())
    }

    /// A command line to run in the namespace.
    pub(super) fn line(&self, line: &str) -> String {
        format!("nsenter --target {} --net -- {line}", self.pid())
    }

    /// Runs a command line that has to succeed.
    pub(super) fn run(&self, line: &str) {
        run(&self.line(line));
    }

    /// Runs a function in the namespace, in a thread that ends with it.
    pub(super) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
