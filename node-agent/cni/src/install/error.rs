//! What can go wrong while installing.

use std::{error::Error, io, path::PathBuf};

use crate::version::UnsupportedVersion;

/// A command line that says nothing that can be done.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    #[error(
        "{verb:?} is no verb: install and remove are; without arguments a container runtime calls this program"
    )]
    Verb { verb: String },
    #[error("{option:?} is no option of {verb}; options are written --name=value")]
    Option { verb: &'static str, option: String },
    /// An option is missing.
    #[error("{verb} needs --{name}=PATH")]
    Missing {
        verb: &'static str,
        name: &'static str,
    },
    /// A path depends on where somebody happens to stand.
    #[error("--{name}={} is not an absolute path", path.display())]
    Relative { name: &'static str, path: PathBuf },
}

/// Why a network configuration list is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Half a file, or none of JSON.
    #[error("it is no JSON")]
    Decode(#[source] serde_json::Error),
    /// It could not be written back.
    #[error("it cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// No plugin makes an interface.
    #[error("it has no plugins but ours")]
    NoPlugins,
    /// Results of another shape.
    #[error("its cniVersion cannot be served")]
    Version(#[source] UnsupportedVersion),
}

/// Why nothing, or not everything, was installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("the command line cannot be used")]
    Arguments(#[source] ArgumentError),
    /// A folder cannot be looked into.
    #[error("cannot read the folder {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The program cannot find itself.
    #[error("cannot find this program's own file")]
    Itself {
        #[source]
        source: io::Error,
    },
    /// What the runtime uses is one plugin, not a list.
    #[error(
        "the runtime uses {}, which is one plugin's configuration: nothing can be chained behind it; make a .conflist of it",
        path.display()
    )]
    NotAList { path: PathBuf },
    /// The list is of no use.
    #[error("cannot use the list {}", path.display())]
    List {
        path: PathBuf,
        #[source]
        source: ListError,
    },
    /// The word to end cannot be waited for.
    #[error("cannot wait for signals")]
    Signals {
        #[source]
        source: io::Error,
    },
}

impl InstallError {
    /// The error with its causes, outermost first.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
