//! `install` and `remove`.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    error::{ArgumentError, InstallError, ListError},
    list, place,
};

/// The cluster's own plugins bring their configuration when they are ready; it is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Put the program and its entry in place; wait for a configuration to put the entry into.
    Install {
        /// Where the runtime looks for plugins.
        programs: PathBuf,
        /// Where the runtime looks for network configurations.
        configurations: PathBuf,
        /// The agent's socket, as the runtime sees it.
        socket: PathBuf,
    },
    /// Take the entry out of every list. The program stays: a runtime still calls it for pods that it knows.
    Remove {
        /// Where the runtime looks for network configurations.
        configurations: PathBuf,
    },
}

/// What was done, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The file now has the entry, or has lost it.
    Changed(PathBuf),
    /// The file was as wanted.
    Unchanged(PathBuf),
}

impl Command {
    /// Reads what follows the program's name.
    ///
    /// # Errors
    /// [`InstallError::Arguments`].
    pub fn parse(arguments: &[String]) -> Result<Self, InstallError> {
        Self::read(arguments).map_err(InstallError::Arguments)
    }

    fn read(arguments: &[String]) -> Result<Self, ArgumentError> {
        let (verb, options) = arguments
            .split_first()
            .map_or(("", &[][..]), |(verb, options)| (verb.as_str(), options));
        match verb {
            "install" => {
                let options = Options::of("install", options);
                options.known(&["program-folder", "configuration-folder", "socket"])?;
                Ok(Self::Install {
                    programs: options.path("program-folder")?,
                    configurations: options.path("configuration-folder")?,
                    socket: options.path("socket")?,
                })
            }
            "remove" => {
                let options = Options::of("remove", options);
                options.known(&["configuration-folder"])?;
                Ok(Self::Remove {
                    configurations: options.path("configuration-folder")?,
                })
            }
            other => Err(ArgumentError::Verb {
                verb: other.to_owned(),
            }),
        }
    }

    /// Does it. `tell` gets a sentence whenever something has to be waited for.
    ///
    /// # Errors
    /// Every other variant of [`InstallError`]; what was done before the failure stays and does no harm.
    pub fn run(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Done>, InstallError> {
        match self {
            Self::Install {
                programs,
                configurations,
                socket,
            } => Ok(vec![
                install_program(programs)?,
                install_entry(configurations, socket, tell)?,
            ]),
            Self::Remove { configurations } => remove(configurations),
        }
    }
}

/// The options of one verb.
struct Options<'a> {
    verb: &'static str,
    texts: &'a [String],
}

impl<'a> Options<'a> {
    const fn of(verb: &'static str, texts: &'a [String]) -> Self {
        Self { verb, texts }
    }

    fn known(&self, names: &[&str]) -> Result<(), ArgumentError> {
        let is_known = |text: &&String| names.iter().any(|name| value(text, name).is_some());
        match self.texts.iter().find(|text| !is_known(text)) {
            Some(option) => Err(ArgumentError::Option {
                verb: self.verb,
                option: option.clone(),
            }),
            None => Ok(()),
        }
    }

    fn path(&self, name: &'static str) -> Result<PathBuf, ArgumentError> {
        let found = self.texts.iter().find_map(|text| value(text, name));
        let path = PathBuf::from(found.ok_or(ArgumentError::Missing {
            verb: self.verb,
            name,
        })?);
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(ArgumentError::Relative { name, path })
        }
    }
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix("--")?
        .strip_prefix(name)?
        .strip_prefix('=')
}

fn install_program(folder: &Path) -> Result<Done, InstallError> {
    let itself = std::env::current_exe().map_err(|source| InstallError::Itself { source })?;
    let wanted = place::read(&itself)?;
    let path = folder.join(list::TYPE);
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

/// Waits for a list that can be read: a plugin that writes its configuration bit by bit is not at fault yet.
fn install_entry(
    folder: &Path,
    socket: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<Done, InstallError> {
    let mut told = String::new();
    loop {
        let waits_for = match place::in_use(folder)? {
            None => format!(
                "waiting for a network configuration in {}",
                folder.display()
            ),
            Some(path) if !place::is_list(&path) => return Err(InstallError::NotAList { path }),
            Some(path) => match edit(&path, |text| list::with_entry(text, socket)) {
                Err(InstallError::List {
                    source: ListError::Decode(error),
                    ..
                }) => format!("waiting for {} to be readable: {error}", path.display()),
                done => return done,
            },
        };
        if waits_for != told {
            tell(&waits_for);
            told = waits_for;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn remove(folder: &Path) -> Result<Vec<Done>, InstallError> {
    let lists = place::configurations(folder)?;
    let lists = lists.into_iter().filter(|path| place::is_list(path));
    lists.map(|path| edit(&path, list::without_entry)).collect()
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
