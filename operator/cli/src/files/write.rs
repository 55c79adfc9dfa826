//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use super::error::FilesError;

/// Writes a file so that a reader sees the old content or the new one, over a crash too: a new file in the same
/// folder, made durable, renamed over the old one, and the folder made durable.
///
/// # Errors
/// [`FilesError::Write`].
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), FilesError> {
    replace(path, content).map_err(|source| FilesError::Write {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    // The agent watches its folder by name, so the temporary file must not look like one of the documents.
    let mut file = tempfile::Builder::new()
        .prefix(".postern-")
        .suffix(".tmp")
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Writes JSON, atomically, only if the content differs: a watcher of the folder is not woken in vain.
///
/// # Errors
/// [`FilesError::Serialize`] or [`FilesError::Write`].
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FilesError> {
    let mut content = serde_json::to_vec_pretty(value).map_err(|source| FilesError::Serialize {
        path: path.to_owned(),
        source,
    })?;
    content.push(b'\n');
    write_if_changed(path, &content)
}

/// Writes a file, atomically, only if its content differs.
///
/// # Errors
/// [`FilesError::Write`].
pub(super) fn write_if_changed(path: &Path, content: &[u8]) -> Result<(), FilesError> {
    if fs::read(path).is_ok_and(|old| old == content) {
        Ok(())
    } else {
        write_atomically(path, content)
    }
}

/// Reads a file; none if there is none.
///
/// # Errors
/// [`FilesError::Read`].
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, FilesError> {
    read_if_there(path).map_err(|source| FilesError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The same, for a caller with an error of its own.
pub(super) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The entries of a folder, sorted by name; none if there is no such folder.
///
/// # Errors
/// [`FilesError::Read`].
pub(super) fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, FilesError> {
    let failed = |source| FilesError::Read {
        path: folder.to_owned(),
        source,
    };
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = list
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    // Half-written files of ours and of editors begin with a dot.
    paths.retain(|path| {
        path.file_name()
            .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    });
    paths.sort();
    Ok(paths)
}
