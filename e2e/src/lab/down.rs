//! `down`: removes everything, and then checks that nothing is left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postern_host_testing::patience::Patience;

use crate::lab::LabError;
use crate::lab::sandbox::cgroup::Cgroup;
use crate::lab::sandbox::command;
use crate::lab::sandbox::process::{Process, start_time};
use crate::lab::{Lab, LabState};

/// The kernel frees a namespace some milliseconds after its last process; a killed one takes longer on a busy machine.
const RESIDUE_DEADLINE: Duration = Duration::from_secs(10);

impl Lab {
    /// Ends every process, frees every namespace and removes the folder; then looks for what may have stayed.
    ///
    /// # Errors
    /// `Residue` with every leftover; or the first step that failed.
    pub fn down(&self) -> Result<(), LabError> {
        let state = self.state()?;
        // Once the mounts of this lab are gone, as after a first try, its namespaces may be freed and their numbers another lab's.
        let (users, held) = match mounts_below(&self.dir)?.is_empty() {
            true => (Vec::new(), Vec::new()),
            false => (users_of(&state.namespaces), nsfs_mounts(&state.namespaces)?),
        };
        Cgroup::at(&state.cgroup).destroy()?;
        self.remove_node_cgroups()?;
        for mount in mounts_below(&self.dir)? {
            command::run(Command::new("umount").arg(&mount))?;
        }
        let patience = Patience::of(RESIDUE_DEADLINE);
        loop {
            let left = self.residue(&state, &users, &held)?;
            if left.is_empty() {
                break;
            }
            if patience.is_over() {
                return Err(LabError::Residue { left });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::remove_dir_all(&self.dir).map_err(LabError::file("remove", &self.dir))
    }

    /// What is left of the lab outside its folder. A link or a table cannot outlive its network namespace, and a
    /// namespace lives as long as a process or a mount holds it: so these are looked for.
    ///
    /// The kernel gives the inode number of a freed namespace to the next one at once, perhaps to another lab's. So
    /// users are the processes and mounts that were found while the namespaces were certainly this lab's.
    fn residue(
        &self,
        state: &LabState,
        users: &[Process],
        held: &[String],
    ) -> Result<Vec<String>, LabError> {
        let mut left: Vec<String> = Vec::new();
        left.extend(
            mounts_below(&self.dir)?
                .iter()
                .map(|mount| format!("mount {}", mount.display())),
        );
        if state.cgroup.exists() {
            left.push(format!("control group {}", state.cgroup.display()));
        }
        let alive = users
            .iter()
            .filter(|process| process.alive() && !process.is_zombie());
        left.extend(alive.map(|process| format!("process {}", process.pid)));
        let info = mountinfo()?;
        let mounted = held
            .iter()
            .filter(|line| info.contains(line.as_str()) && !below(line, &self.dir));
        left.extend(mounted.map(|line| format!("mount of a network namespace: {line}")));
        Ok(left)
    }
}

fn below(mountinfo_line: &str, folder: &Path) -> bool {
    mountinfo_line
        .split(' ')
        .nth(4)
        .is_some_and(|path| Path::new(path).starts_with(folder))
}

/// Mount points at or below a folder, deepest first, from `/proc/self/mountinfo` (field 5; blanks are octal).
fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    let mut found: Vec<PathBuf> = mountinfo()?
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(folder))
        .collect();
    found.reverse();
    Ok(found)
}

fn mountinfo() -> Result<String, LabError> {
    let path = Path::new("/proc/self/mountinfo");
    fs::read_to_string(path).map_err(LabError::file("read", path))
}

/// Mounts of these namespaces: field 4 reads `net:[INODE]`.
fn nsfs_mounts(inodes: &[u64]) -> Result<Vec<String>, LabError> {
    let info = mountinfo()?;
    let names: Vec<String> = inodes
        .iter()
        .map(|inode| format!("net:[{inode}]"))
        .collect();
    let held = info.lines().filter(|line| {
        let root = line.split(' ').nth(3).unwrap_or_default();
        names.iter().any(|name| name == root)
    });
    Ok(held.map(str::to_owned).collect())
}

fn users_of(inodes: &[u64]) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    // `metadata` follows the link; a process that ended meanwhile has no namespace any more.
    let inside = pids.filter(|pid| {
        fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|namespace| inodes.contains(&namespace.ino()))
    });
    inside
        .filter_map(|pid| {
            Some(Process {
                pid,
                start_time: start_time(pid)?,
            })
        })
        .collect()
}
