//! Long-lived processes of a lab, each like a container: a PID namespace and a control group of its own.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postern_host_testing::patience::Patience;
use serde::{Deserialize, Serialize};

use crate::lab::LabError;
use crate::lab::sandbox::cgroup::Cgroup;
use crate::lab::sandbox::netns::Namespace;

/// How long the wrappers around a program may take until it runs.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Enters its control group before anything else runs, so that no child can be forked outside it.
const ENTER: &str = r#"echo 0 > "$0/cgroup.procs" && exec "$@""#;

/// What to start, and where.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The namespaces to run in.
    pub namespace: &'a Namespace,
    /// The control group, made if needed.
    pub cgroup: Cgroup,
    pub command: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// File that both output streams are appended to.
    pub log: PathBuf,
}

/// A process that was started: its number and its start time together are never reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Number in the PID namespace in which the lab was made.
    pub pid: u32,
    /// Clock ticks since boot at its start: field 22 of `/proc/PID/stat`, see proc_pid_stat(5).
    pub start_time: u64,
}

impl Start<'_> {
    /// Starts the process and returns as soon as it exists. It keeps running when the caller ends. Answers nothing when
    /// the program was done, with success, before anybody could look.
    ///
    /// # Errors
    /// When the group cannot be made, a wrapper fails, or the program fails at once.
    pub fn run(&self) -> Result<Option<Process>, LabError> {
        self.cgroup.create()?;
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(LabError::file("open", &self.log))?;
        let errors = log.try_clone().map_err(LabError::file("open", &self.log))?;
        let mut command = self.wrapped();
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // A group of its own, so that Ctrl-C in the terminal that made the lab does not end the lab's processes.
        command
            .process_group(0)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().map_err(|source| LabError::Spawn {
            program: self.name(),
            source,
        })?;
        let process = self.await_first(&mut || child.try_wait().ok().flatten())?;
        // Somebody has to reap the wrapper while the caller lives; afterwards init does.
        std::thread::spawn(move || child.wait());
        Ok(process)
    }

    fn wrapped(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", ENTER]).arg(self.cgroup.path());
        command
            .arg("nsenter")
            .args(self.namespace.nsenter_args())
            .arg("--");
        command.args([
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "slave",
            "--",
        ]);
        command.args(&self.command);
        command
    }

    fn await_first(
        &self,
        ended: &mut dyn FnMut() -> Option<ExitStatus>,
    ) -> Result<Option<Process>, LabError> {
        let patience = Patience::of(START_DEADLINE);
        loop {
            if let Some(process) = first_process(&self.cgroup) {
                return Ok(Some(process));
            }
            match ended() {
                Some(status) if status.success() => return Ok(None),
                Some(status) => {
                    let stderr = tail(&self.log, 5);
                    return Err(LabError::Command {
                        command: self.name(),
                        status: status.to_string(),
                        stderr,
                    });
                }
                None if patience.is_over() => {
                    let what = format!("the start of {}", self.name());
                    let seconds = START_DEADLINE.as_secs_f64();
                    return Err(LabError::Timeout {
                        what,
                        seconds,
                        detail: String::new(),
                    });
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn name(&self) -> String {
        self.command
            .iter()
            .map(|part| part.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Starts a process of the lab that must see and make what its caller sees: it has a control group and no namespace of
/// its own. It keeps running when the caller ends.
///
/// # Errors
/// When the group or the log cannot be made, or the program fails at once.
pub fn start_unconfined(
    cgroup: &Cgroup,
    command: &[OsString],
    log: &Path,
) -> Result<Process, LabError> {
    cgroup.create()?;
    let file = OpenOptions::new().create(true).append(true).open(log);
    let file = file.map_err(LabError::file("open", log))?;
    let errors = file.try_clone().map_err(LabError::file("open", log))?;
    let mut shell = Command::new("sh");
    shell.args(["-c", ENTER]).arg(cgroup.path()).args(command);
    shell.stdin(Stdio::null()).stdout(file).stderr(errors);
    let program = command
        .first()
        .map(|program| program.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut child = shell
        .process_group(0)
        .spawn()
        .map_err(|source| LabError::Spawn {
            program: program.clone(),
            source,
        })?;
    let pid = child.id();
    let patience = Patience::of(START_DEADLINE);
    // The shell is in the group as soon as it has begun, and becomes the program.
    let begun = loop {
        if let Some(time) = start_time(pid).filter(|_| cgroup.populated()) {
            break Some(time);
        }
        if patience.is_over() || child.try_wait().is_ok_and(|end| end.is_some()) {
            break None;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    std::thread::spawn(move || child.wait());
    begun
        .map(|start_time| Process { pid, start_time })
        .ok_or_else(|| LabError::Command {
            command: program,
            status: "it ended at once".to_owned(),
            stderr: tail(log, 5),
        })
}

/// The process that is number 1 in its own PID namespace, once it exists.
#[must_use]
pub fn first_process(cgroup: &Cgroup) -> Option<Process> {
    let pid = cgroup.processes().into_iter().find(|pid| is_first(*pid))?;
    Some(Process {
        pid,
        start_time: start_time(pid)?,
    })
}

fn is_first(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers: Vec<&str> = numbers.unwrap_or_default().split_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}

/// Field 22 of `/proc/PID/stat`; the name in field 2 may contain blanks and brackets, so fields count from its end.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

impl Process {
    /// Whether this very process still lives.
    #[must_use]
    pub fn alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// Whether it has ended and only waits for its parent: field 3 of `/proc/PID/stat`.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, fields)| fields.starts_with('Z'))
    }

    /// Sends a signal to this very process; nothing happens when it is gone.
    ///
    /// # Errors
    /// When the kernel refuses for another reason than that it is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        if !self.alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid.cast_signed()), signal) {
            Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
            Err(source) => Err(LabError::System {
                act: format!("signal process {}", self.pid),
                source,
            }),
        }
    }
}

/// The last lines of a log, for messages.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join(" | ")
}
