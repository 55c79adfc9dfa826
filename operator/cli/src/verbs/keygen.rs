//! `posternctl keygen`: a signing key and the trust file that belongs to it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use postern_intent::KeyId;

use super::{VerbAnswer, VerbEnd, VerbError};
use crate::files::FilesError;
use crate::keys::{generate, private_pem, public_pem};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder for `signing.pem` and `trust.pem`.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<VerbAnswer, VerbError> {
    let key = generate()?;
    std::fs::create_dir_all(&arguments.dir).map_err(|source| FilesError::Write {
        path: arguments.dir.clone(),
        source,
    })?;
    let (signing, trust) = (
        arguments.dir.join("signing.pem"),
        arguments.dir.join("trust.pem"),
    );
    if trust.exists() {
        return Err(VerbError::Exists(trust));
    }
    create(&signing, 0o600, &private_pem(&key)?)?;
    create(&trust, 0o644, &public_pem(&key)?)?;
    let id = KeyId::of(&key.verifying_key());
    Ok(VerbAnswer {
        text: format!("key {id}: {} and {}", signing.display(), trust.display()),
        end: VerbEnd::Well,
    })
}

/// Writes a new file and never over an old one.
fn create(path: &Path, mode: u32, content: &str) -> Result<(), VerbError> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => VerbError::Exists(path.to_owned()),
        _ => FilesError::Write {
            path: path.to_owned(),
            source,
        }
        .into(),
    })?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|source| {
            FilesError::Write {
                path: path.to_owned(),
                source,
            }
            .into()
        })
}
