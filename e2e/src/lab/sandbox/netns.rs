//! Network and mount namespaces that outlive the program that made them.
//!
//! A namespace is kept alive by a bind mount of its `/proc/PID/ns` file. The folders that hold these mounts are mount
//! points of their own: the one for network namespaces is shared, so that a pod's namespace appears in the mount
//! namespaces of nodes that were made before it; the one for mount namespaces is private, because the kernel refuses to
//! propagate a mount namespace into a copy of itself (mount fails with EINVAL).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::lab::LabError;
use crate::lab::sandbox::command;

/// Makes the two folders that hold a lab's namespaces.
///
/// # Errors
/// When a folder cannot be made or mounted.
pub fn prepare(net: &Path, mount: &Path) -> Result<(), LabError> {
    for (folder, propagation) in [(net, "--make-shared"), (mount, "--make-private")] {
        fs::create_dir_all(folder).map_err(LabError::file("create", folder))?;
        command::run(Command::new("mount").arg("--bind").arg(folder).arg(folder))?;
        command::run(Command::new("mount").arg(propagation).arg(folder))?;
    }
    Ok(())
}

/// Where a program runs: a network namespace, and for nodes a mount namespace too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    net: PathBuf,
    mount: Option<PathBuf>,
}

impl Namespace {
    /// A namespace that exists, or is about to be made, at this path.
    #[must_use]
    pub fn net(path: impl Into<PathBuf>) -> Self {
        Self {
            net: path.into(),
            mount: None,
        }
    }

    /// The same with a mount namespace beside it.
    #[must_use]
    pub fn with_mount(self, path: impl Into<PathBuf>) -> Self {
        Self {
            mount: Some(path.into()),
            ..self
        }
    }

    /// The path of the network namespace, as a CNI plugin wants it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.net
    }

    /// Makes the namespaces and keeps them.
    ///
    /// A mount namespace gets a sysfs of its own: `/sys/class/net` shows the links of the network namespace that was
    /// current when that sysfs was mounted, not of the reader.
    ///
    /// # Errors
    /// When `unshare` fails.
    pub fn create(&self) -> Result<(), LabError> {
        File::create(&self.net).map_err(LabError::file("create", &self.net))?;
        let mut unshare = Command::new("unshare");
        unshare.arg(format!("--net={}", self.net.display()));
        if let Some(mount) = &self.mount {
            File::create(mount).map_err(LabError::file("create", mount))?;
            unshare
                .arg(format!("--mount={}", mount.display()))
                .args(["--propagation", "slave"]);
            unshare.args(["--", "mount", "-t", "sysfs", "sysfs", "/sys"]);
        } else {
            unshare.args(["--", "true"]);
        }
        command::run(&mut unshare).map(drop)
    }

    /// Lets go of the namespaces; the kernel frees them when nothing runs in them any more.
    ///
    /// # Errors
    /// When a mount or its file cannot be removed.
    pub fn delete(&self) -> Result<(), LabError> {
        for path in self.mount.iter().chain([&self.net]) {
            if !path.exists() {
                continue;
            }
            command::run(Command::new("umount").arg(path))?;
            fs::remove_file(path).map_err(LabError::file("remove", path))?;
        }
        Ok(())
    }

    /// A command that will run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.nsenter_args()).arg("--").arg(program);
        command
    }

    /// The arguments that make `nsenter` go inside.
    #[must_use]
    pub fn nsenter_args(&self) -> Vec<String> {
        let mut args = vec![format!("--net={}", self.net.display())];
        args.extend(
            self.mount
                .as_ref()
                .map(|mount| format!("--mount={}", mount.display())),
        );
        args
    }

    /// Runs a closure in a thread of its own inside the network namespace (only that one: a thread shares its file
    /// system view with the others and may not change its mount namespace).
    ///
    /// # Errors
    /// When the namespace cannot be entered, and whatever the closure answers.
    pub fn run<T: Send>(
        &self,
        act: impl FnOnce() -> Result<T, LabError> + Send,
    ) -> Result<T, LabError> {
        let file = File::open(&self.net).map_err(LabError::file("open", &self.net))?;
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET)
                .map_err(LabError::system(format!("enter {}", self.net.display())))?;
            act()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).map_err(|_| {
            LabError::ThreadLost {
                act: "work inside a network namespace",
            }
        })?
    }

    /// Writes kernel settings of the network namespace, given as `net/ipv4/ip_forward` and value.
    ///
    /// # Errors
    /// When a setting does not exist or refuses the value.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<(), LabError> {
        self.run(|| {
            for (name, value) in settings {
                let path = Path::new("/proc/sys").join(name);
                fs::write(&path, value).map_err(LabError::file("write", path))?;
            }
            Ok(())
        })
    }

    /// Runs `ip -batch` with these lines inside.
    ///
    /// # Errors
    /// With the first line that fails.
    pub fn ip(&self, lines: &str) -> Result<(), LabError> {
        command::run_with_input(self.command("ip").args(["-batch", "-"]), lines).map(drop)
    }

    /// Loads an nft ruleset inside.
    ///
    /// # Errors
    /// When nft refuses it.
    pub fn nft(&self, ruleset: &str) -> Result<(), LabError> {
        command::run_with_input(self.command("nft").args(["-f", "-"]), ruleset).map(drop)
    }
}
