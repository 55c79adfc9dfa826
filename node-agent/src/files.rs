//! Files that survive a crash: written beside, flushed, renamed, and the folder flushed too.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that could not be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// It could not be read.
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It could not be written; the old one is whole.
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A folder could not be made.
    #[error("cannot make the folder {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What it holds is not understood.
    #[error("{path} does not hold what it should")]
    Content {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

/// Makes a folder that only its owner may look into.
///
/// # Errors
/// [`FileError::Folder`].
pub fn private_folder(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Folder {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// The file's bytes; none when it is not there.
///
/// # Errors
/// [`FileError::Read`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The file's bytes, one more than the limit at most: whoever sees that many knows that there is more. None when it is
/// not there.
///
/// # Errors
/// [`FileError::Read`].
pub fn read_at_most(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let start = |file: fs::File| {
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match fs::File::open(path).and_then(start) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    Owner,
    Everybody,
}

/// Writes a file whole or not at all.
///
/// # Errors
/// [`FileError::Write`].
pub fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), FileError> {
    write_io(path, bytes, readers).map_err(|source| FileError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_io(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everybody => 0o644,
    };
    let mut file = tempfile::Builder::new()
        .prefix(".postern-")
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
/// [`FileError::Write`].
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::Write {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// Writes JSON.
///
/// # Errors
/// [`FileError::Content`] or [`FileError::Write`].
pub fn write_json<T: serde::Serialize>(
    path: &Path,
    value: &T,
    readers: Readers,
) -> Result<(), FileError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|source| FileError::Content {
        path: path.to_owned(),
        source,
    })?;
    write(path, &bytes, readers)
}
