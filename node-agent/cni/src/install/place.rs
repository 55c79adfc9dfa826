//! Files and folders of the runtime.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::error::InstallError;

/// The file that a runtime uses: the first by name of those that may be network configurations (libcni's `ConfFiles`,
/// as containerd and CRI-O call it).
pub(super) fn in_use(folder: &Path) -> Result<Option<PathBuf>, InstallError> {
    Ok(configurations(folder)?.into_iter().next())
}

/// Every network configuration of the folder, by name.
pub(super) fn configurations(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let failed = |source| InstallError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|name| name.to_str());
        if matches!(extension, Some("conf" | "conflist" | "json")) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Is it a list, by the name that makes a runtime read it as one?
pub(super) fn is_list(path: &Path) -> bool {
    path.extension().is_some_and(|name| name == "conflist")
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, InstallError> {
    fs::read(path).map_err(|source| InstallError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file whole or not at all. The name that it has meanwhile is none that a runtime looks at.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    write_io(path, bytes, mode).map_err(|source| InstallError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Who may read and run a file that is to be replaced.
pub(super) fn mode(path: &Path) -> Result<u32, InstallError> {
    let found = fs::metadata(path).map_err(|source| InstallError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(found.permissions().mode() & 0o777)
}

/// What changes about a file when somebody writes, replaces or forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    inode: u64,
    size: u64,
    mode: u32,
    /// Seconds and nanoseconds of the last change of the file or of its mode (`ctime`), which nobody can set back.
    changed: (i64, i64),
}

/// The file's stamp; none where there is no file that can be looked at.
pub(super) fn stamp(path: &Path) -> Option<FileStamp> {
    let found = fs::metadata(path).ok()?;
    Some(FileStamp {
        inode: found.ino(),
        size: found.size(),
        mode: found.mode(),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

fn write_io(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
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
