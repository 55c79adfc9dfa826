//! Network namespaces that live as long as their holder process: nothing has a name on the host,
//! so nothing can be left behind.

use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use super::eventually;

/// A user and network namespace of the test's own.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    fn start(mut command: Command) -> Self {
        // The holder ends by itself should the test be killed.
        let holder = command
            .args(["sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare is needed for this test");
        let namespace = Self { holder };
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = PathBuf::from(format!("/proc/{}/ns/net", namespace.pid()));
        eventually("the namespace comes to be", || {
            std::fs::read_link(&path).is_ok_and(|found| found != own)
                && namespace
                    .command("true")
                    .output()
                    .is_ok_and(|o| o.status.success())
        });
        namespace
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs in the namespace; to look at it by hand:
    /// `nsenter --target PID --user --net --preserve-credentials`.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string()]).args([
            "--user",
            "--net",
            "--preserve-credentials",
            "--",
            program,
        ]);
        command
    }

    /// Runs one command line and gives what it did.
    pub(crate) fn try_run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        self.command(words.next().unwrap())
            .args(words)
            .output()
            .unwrap()
    }

    /// Runs one command line that has to succeed and gives its output.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs several command lines.
    pub(crate) fn run_all(&self, lines: &[&str]) {
        for line in lines {
            self.run(line);
        }
    }

    /// Whether one echo request comes back within a second.
    pub(crate) fn pings(&self, address: &str) -> bool {
        self.try_run(&format!("ping -c 1 -W 1 {address}"))
            .status
            .success()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Two hosts on one wire: 192.0.2.1 and fd00:2::1, 192.0.2.2 and fd00:2::2.
pub(crate) fn pair() -> (Namespace, Namespace) {
    let mut outer = Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--net", "--"]);
    let left = Namespace::start(outer);
    let mut inner = left.command("unshare");
    inner.args(["--net", "--"]);
    let right = Namespace::start(inner);
    left.run(&format!(
        "ip link add wire type veth peer name wire netns {}",
        right.pid()
    ));
    for (host, number) in [(&left, 1), (&right, 2)] {
        host.run_all(&[
            "ip link set lo up",
            &format!("ip address add 192.0.2.{number}/24 dev wire"),
            &format!("ip address add fd00:2::{number}/64 dev wire nodad"),
            "ip link set wire up",
        ]);
    }
    (left, right)
}
