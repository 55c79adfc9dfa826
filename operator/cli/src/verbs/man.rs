//! `posternctl man`: manual pages.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::generate_to;

use super::{VerbAnswer, VerbEnd, VerbError};
use crate::files::FilesError;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder that gets one page for each verb, such as /usr/local/share/man/man1.
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments, program: Command) -> Result<VerbAnswer, VerbError> {
    let folder = &arguments.folder;
    let failed = |source| FilesError::Write {
        path: folder.clone(),
        source,
    };
    fs::create_dir_all(folder).map_err(failed)?;
    generate_to(program, folder).map_err(failed)?;
    Ok(VerbAnswer {
        text: format!("written to {}", folder.display()),
        end: VerbEnd::Well,
    })
}
