//! What is put into the folders of a node, and taken out of them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{
    error::{InstallError, ListError},
    list, place,
};

/// Where things are on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePaths {
    /// Where the runtime looks for plugins.
    pub programs: PathBuf,
    /// Where the runtime looks for network configurations.
    pub configurations: PathBuf,
    /// The agent's socket, as the runtime sees it.
    pub socket: PathBuf,
}

/// What was done, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// The file now has the entry, or has lost it.
    Changed(PathBuf),
    /// The file was as wanted.
    Unchanged(PathBuf),
}

impl Done {
    /// What the next look finds, if nobody changes anything meanwhile.
    pub(super) fn settled(self) -> Self {
        match self {
            Self::Changed(path) | Self::Unchanged(path) => Self::Unchanged(path),
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(path) => write!(f, "{} changed", path.display()),
            Self::Unchanged(path) => write!(f, "{} is right", path.display()),
        }
    }
}

/// What came of the attempt to put the entry in place.
pub(super) enum EntryAttempt {
    Done(Done),
    /// There is nothing yet to put it into: what is waited for.
    Waits(String),
}

impl NodePaths {
    pub(super) fn program(&self) -> PathBuf {
        self.programs.join(list::TYPE)
    }

    /// Puts this very program in its place.
    pub(super) fn put_program(&self) -> Result<Done, InstallError> {
        let itself = std::env::current_exe().map_err(|source| InstallError::Itself { source })?;
        let wanted = place::read(&itself)?;
        let path = self.program();
        match place::read(&path) {
            Ok(found) if found == wanted && place::mode(&path)? == 0o755 => {
                return Ok(Done::Unchanged(path));
            }
            Ok(_) => {}
            Err(InstallError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        place::write(&path, &wanted, 0o755)?;
        Ok(Done::Changed(path))
    }

    /// Puts the entry into the list that the runtime uses. One that cannot be read may be half written: a plugin that
    /// writes its configuration bit by bit is not at fault yet.
    pub(super) fn put_entry(&self) -> Result<EntryAttempt, InstallError> {
        let folder = &self.configurations;
        let Some(path) = place::in_use(folder)? else {
            let folder = folder.display();
            return Ok(EntryAttempt::Waits(format!(
                "waiting for a network configuration in {folder}"
            )));
        };
        if !place::is_list(&path) {
            return Err(InstallError::NotAList { path });
        }
        match edit(&path, |text| list::with_entry(text, &self.socket)) {
            Err(InstallError::List {
                source: ListError::Decode(error),
                ..
            }) => Ok(EntryAttempt::Waits(format!(
                "waiting for {} to be readable: {error}",
                path.display()
            ))),
            done => done.map(EntryAttempt::Done),
        }
    }
}

/// Takes the entry out of every list of the folder. A list that cannot be edited keeps no other from being edited.
///
/// # Errors
/// The first; the others are told.
pub(super) fn remove(folder: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let mut first = None;
    let lists = place::configurations(folder)?;
    for path in lists.into_iter().filter(|path| place::is_list(path)) {
        match edit(&path, list::without_entry) {
            Ok(done) => tell(&done.to_string()),
            Err(error) if first.is_none() => first = Some(error),
            Err(error) => tell(&error.chain()),
        }
    }
    first.map_or(Ok(()), Err)
}

fn edit(
    path: &Path,
    change: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, ListError>,
) -> Result<Done, InstallError> {
    let before = place::read(path)?;
    let after = change(&before).map_err(|source| InstallError::List {
        path: path.to_owned(),
        source,
    })?;
    match after {
        None => Ok(Done::Unchanged(path.to_owned())),
        Some(text) => {
            place::write(path, &text, place::mode(path)?)?;
            Ok(Done::Changed(path.to_owned()))
        }
    }
}
