//! The program under test.

use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::PathBuf,
    process::Child,
};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::{Namespace, eventually};

/// One `postern-tunnel run` in a namespace.
pub(crate) struct TunnelProcess {
    child: Child,
    run_dir: PathBuf,
}

impl TunnelProcess {
    pub(crate) fn start(namespace: &Namespace, run_dir: &std::path::Path) -> Self {
        let child = namespace
            .command(env!("CARGO_BIN_EXE_postern-tunnel"))
            .args(["run", "--run-dir"])
            .arg(run_dir)
            .spawn()
            .unwrap();
        Self {
            child,
            run_dir: run_dir.to_path_buf(),
        }
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.run_dir.join("wireguard").join(format!("{name}.sock"))
    }

    /// Asks for a tunnel as the agent does.
    pub(crate) fn request(&self, name: &str) {
        let folder = self.run_dir.join("tunnels");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), "").unwrap();
    }

    pub(crate) fn withdraw(&self, name: &str) {
        std::fs::remove_file(self.run_dir.join("tunnels").join(name)).unwrap();
    }

    /// Waits until the tunnel takes connections; a stale socket refuses them.
    pub(crate) fn wait_until_served(&self, name: &str) {
        let socket = self.socket(name);
        eventually("the socket takes connections", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        let found = std::fs::metadata(&socket).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        let folder = std::fs::metadata(socket.parent().unwrap()).unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and gives the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Asks as the supervisor does: what it says when a tunnel gives no answer.
    pub(crate) fn asked_whether_alive(&self) -> Result<(), String> {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_postern-tunnel"))
            .args(["alive", "--patience-milliseconds=500", "--run-dir"])
            .arg(&self.run_dir)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Makes it hang, as a debugger, a frozen cgroup or a lock does.
    pub(crate) fn hang(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
        // A thread on another processor runs on for a moment. waitpid(2) with WUNTRACED returns once all of them have
        // stopped.
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for TunnelProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
