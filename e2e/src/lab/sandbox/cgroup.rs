//! Control groups (version 2), as the means to end every process of something at once.
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>: `cgroup.kill` kills the whole subtree, forks included, and
//! `cgroup.events` shows whether anything is left in it. A killed container ends in the same way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_host_testing::patience::Patience;

use crate::lab::LabError;

/// How long a killed process may take to go; the kernel needs milliseconds.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A control group of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The group at this path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// A new group directly below the root of the version 2 hierarchy, wherever that is mounted.
    ///
    /// # Errors
    /// When no such hierarchy is mounted or the group cannot be made.
    pub fn create_top(name: &str) -> Result<Self, LabError> {
        let group = Self::at(hierarchy()?.join(name));
        group.create()?;
        Ok(group)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A group inside this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self::at(self.path.join(name))
    }

    /// Makes the group if it is not there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(&self) -> Result<(), LabError> {
        fs::create_dir_all(&self.path).map_err(LabError::file("create", &self.path))
    }

    /// Whether a live process is in the group or below it. A group that does not exist has none.
    #[must_use]
    pub fn populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|text| text.contains("populated 1"))
    }

    /// The live processes of the group itself, as numbers in the reader's PID namespace.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Freezes every process of the group, with its memory and its connections, until it is thawed or killed. The kernel
    /// says when the last one has stopped (cgroup-v2, `cgroup.events`).
    ///
    /// # Errors
    /// When the kernel refuses; `Timeout` when a process does not stop.
    pub fn freeze(&self) -> Result<(), LabError> {
        self.write("cgroup.freeze", "1")?;
        self.await_state("the stop", |cgroup| {
            let events = fs::read_to_string(cgroup.path.join("cgroup.events")).unwrap_or_default();
            events.lines().any(|line| line == "frozen 1")
        })
    }

    /// Lets a frozen group go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(&self) -> Result<(), LabError> {
        self.write("cgroup.freeze", "0")
    }

    fn write(&self, file: &str, text: &str) -> Result<(), LabError> {
        let path = self.path.join(file);
        fs::write(&path, text).map_err(LabError::file("write", path))
    }

    /// Kills everything in the group, waits until it is gone and removes the group and those below it.
    ///
    /// # Errors
    /// `Timeout` when a process does not go.
    pub fn destroy(&self) -> Result<(), LabError> {
        if !self.path.exists() {
            return Ok(());
        }
        self.write("cgroup.kill", "1")?;
        self.await_state("the end", |cgroup| !cgroup.populated())?;
        remove(&self.path)
    }

    fn await_state(&self, what: &str, is_there: impl Fn(&Self) -> bool) -> Result<(), LabError> {
        let patience = Patience::of(KILL_DEADLINE);
        while !is_there(self) {
            if patience.is_over() {
                return Err(LabError::Timeout {
                    what: format!("{what} of every process in {}", self.path.display()),
                    seconds: KILL_DEADLINE.as_secs_f64(),
                    detail: String::new(),
                });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

fn hierarchy() -> Result<PathBuf, LabError> {
    let mounts = Path::new("/proc/self/mounts");
    let text = fs::read_to_string(mounts).map_err(LabError::file("read", mounts))?;
    let mut fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .find(|mount| mount.get(2) == Some(&"cgroup2"))
        .map(|mount| PathBuf::from(mount[1]))
        .ok_or_else(|| {
            let source = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "no cgroup2 hierarchy is mounted",
            );
            LabError::File {
                act: "find the control groups in",
                path: mounts.to_owned(),
                source,
            }
        })
}

/// A folder of the cgroup file system is removed with rmdir alone; its files are not unlinked.
pub(crate) fn remove(path: &Path) -> Result<(), LabError> {
    let entries = fs::read_dir(path).map_err(LabError::file("list", path))?;
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path())?;
    }
    fs::remove_dir(path).map_err(LabError::file("remove", path))
}
