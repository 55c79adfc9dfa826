//! Where the programs of a lab are, and building them first.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::LabError;
use crate::lab::sandbox::command;
use crate::lab::{Cluster, Collector, Programs, UpOptions};

/// The program that collects what operators and agents export; its process has the same name.
pub(crate) const COLLECTOR: &str = "lab-collector";

/// The folder that holds `lab` and the programs built beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Beside the running program; a test's binary is one folder deeper (`target/debug/deps`).
    ///
    /// # Errors
    /// When the running program cannot be found.
    pub fn locate() -> Result<Self, LabError> {
        let exe = Path::new("/proc/self/exe");
        let path = std::fs::read_link(exe).map_err(LabError::file("read", exe))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let folder = if folder.ends_with("deps") {
            folder.parent().unwrap_or(folder)
        } else {
            folder
        };
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The path of one program.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The lab's own program.
    #[must_use]
    pub fn lab(&self) -> PathBuf {
        self.path("lab")
    }

    /// Builds what a lab needs, in the profile that this program was built in. A program that was installed away from
    /// its sources builds nothing.
    ///
    /// # Errors
    /// With the compiler's message.
    pub fn build(&self, options: &UpOptions) -> Result<(), LabError> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("POSTERN_LAB_NO_BUILD").is_some()
            || !sources.join("Cargo.toml").exists()
        {
            return self.check(options);
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(sources)
            .args(["build", "--quiet", "-p", "postern-e2e", "--bin", "lab"]);
        if options.collector == Collector::There {
            cargo.args(["--features", "postern-e2e/cluster", "--bin", COLLECTOR]);
        }
        for package in postern(options) {
            cargo.args(["-p", package, "--bin", package]);
        }
        if self.folder.ends_with("release") {
            cargo.arg("--release");
        }
        command::run(&mut cargo)?;
        self.check(options)
    }

    fn check(&self, options: &UpOptions) -> Result<(), LabError> {
        let collector = (options.collector == Collector::There).then_some(&COLLECTOR);
        let own = std::iter::once(&"lab").chain(collector);
        for program in own.chain(postern(options)) {
            let path = self.path(program);
            path.metadata()
                .map_err(LabError::file("find the program", path))?;
        }
        Ok(())
    }
}

fn postern(options: &UpOptions) -> &'static [&'static str] {
    const ALL: [&str; 5] = [
        "postern-agent",
        "postern-tunnel",
        "postern-cni",
        "postern-operator",
        "posternctl",
    ];
    match (options.programs, options.cluster) {
        (Programs::Postern, Cluster::ApiServer) => &ALL,
        (Programs::Postern, Cluster::Standalone) => &ALL[..3],
        (Programs::Bare, _) => &[],
    }
}
