//! A lab for one test.

use std::ops::Deref;
use std::path::Path;

use tempfile::TempDir;

use crate::lab::error::{LabError, chain};
use crate::lab::{Cluster, Lab, Programs, UpOptions};

/// The environment variable that selects the kind of lab: an API server if it is `api-server`.
const PLACE: &str = "POSTERN_LAB_CLUSTER";

/// Where cases run that run anywhere.
///
/// # Errors
/// `Invalid` for a place that there is not: a case that ran elsewhere than asked for would show something else.
pub(super) fn place() -> Result<Cluster, LabError> {
    match std::env::var(PLACE).as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("standalone") => Ok(Cluster::Standalone),
        Ok("api-server") => Ok(Cluster::ApiServer),
        other => Err(LabError::Invalid {
            what: PLACE,
            value: format!("{other:?}"),
            why: "cases run in a `standalone` lab or on an `api-server`".to_owned(),
        }),
    }
}

/// A lab in a folder of its own. It is taken down when the value is dropped, and a lab that leaves something behind
/// fails its test. With `POSTERN_LAB_KEEP=1` a lab whose test failed stays, and the line to step inside is printed.
#[derive(Debug)]
pub struct TestLab {
    lab: Lab,
    folder: Option<TempDir>,
}

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl TestLab {
    /// A lab with these options; with `POSTERN_LAB_CLUSTER=api-server` it has an API server even where they ask for
    /// none, so that one case shows both.
    pub fn up(options: &UpOptions) -> Result<Self, LabError> {
        let mut options = options.clone();
        if place()? == Cluster::ApiServer {
            options.cluster = Cluster::ApiServer;
        }
        Self::exactly(&options)
    }

    /// A lab with these options and no others, wherever other cases run.
    pub fn exactly(options: &UpOptions) -> Result<Self, LabError> {
        let parent = Path::new("/tmp");
        let folder = tempfile::Builder::new().prefix("plab-").tempdir_in(parent);
        let folder = folder.map_err(LabError::file("create a folder in", parent))?;
        let lab = Lab::up(folder.path(), options, &mut |_| {})?;
        Ok(Self {
            lab,
            folder: Some(folder),
        })
    }

    /// A lab without any of Postern's programs and without an API server.
    pub fn bare() -> Result<Self, LabError> {
        Self::exactly(&UpOptions {
            programs: Programs::Bare,
            ..UpOptions::default()
        })
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed && std::env::var_os("POSTERN_LAB_KEEP").is_some() {
            eprintln!(
                "the lab stays: lab --dir {} status",
                self.lab.dir().display()
            );
            self.folder.take().map(TempDir::keep);
            return;
        }
        let left = self.lab.down().err().map(|error| chain(&error));
        assert!(failed || left.is_none(), "{}", left.unwrap_or_default());
    }
}
