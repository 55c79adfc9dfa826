//! `posternctl completion`: what a shell completes.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::{VerbAnswer, VerbEnd};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    shell: Shell,
    /// The name by which the program is called; default: the one by which it is called now, such as kubectl-postern.
    #[arg(long)]
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments, mut program: Command) -> VerbAnswer {
    let name = arguments.name.clone().unwrap_or_else(own_name);
    let mut script = Vec::new();
    generate(arguments.shell, &mut program, name, &mut script);
    VerbAnswer {
        text: String::from_utf8_lossy(&script).trim_end().to_owned(),
        end: VerbEnd::Well,
    }
}

fn own_name() -> String {
    let program = std::env::args_os().next().map(PathBuf::from);
    let name = program.as_deref().and_then(Path::file_name);
    let name = name.map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "posternctl".to_owned())
}
