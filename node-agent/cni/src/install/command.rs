//! `install` and `remove`.

use std::{path::PathBuf, thread, time::Duration};

use super::{
    error::{ArgumentError, InstallError},
    node::{EntryAttempt, NodePaths, remove},
    watch::keep,
};

/// The cluster's own plugins bring their configuration when they are ready; it is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes `install` end when it is done.
const ONCE: &str = "--once";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallCommand {
    /// Put the program and its entry in place, and back in place whenever somebody else has changed that, until a signal
    /// comes.
    Install(NodePaths),
    /// Put the program and its entry in place, once; wait for a configuration to put the entry into.
    InstallOnce(NodePaths),
    /// Take the entry out of every list. The program stays: a runtime still calls it for pods that it knows.
    Remove {
        /// Where the runtime looks for network configurations.
        configurations: PathBuf,
    },
}

impl InstallCommand {
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
                let options = VerbOptions::of("install", options);
                let names = ["program-folder", "configuration-folder", "socket"];
                options.known(&names, &[ONCE])?;
                let node = NodePaths {
                    programs: options.path("program-folder")?,
                    configurations: options.path("configuration-folder")?,
                    socket: options.path("socket")?,
                };
                Ok(match options.has(ONCE) {
                    true => Self::InstallOnce(node),
                    false => Self::Install(node),
                })
            }
            "remove" => {
                let options = VerbOptions::of("remove", options);
                options.known(&["configuration-folder"], &[])?;
                Ok(Self::Remove {
                    configurations: options.path("configuration-folder")?,
                })
            }
            other => Err(ArgumentError::Verb {
                verb: other.to_owned(),
            }),
        }
    }

    /// Does it. `tell` gets a sentence for whatever is done and whatever has to be waited for.
    ///
    /// # Errors
    /// Every other variant of [`InstallError`]; what was done before the failure stays and does no harm.
    pub fn run(&self, tell: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
        match self {
            Self::Install(node) => keep(node, tell),
            Self::InstallOnce(node) => install(node, tell),
            Self::Remove { configurations } => remove(configurations, tell),
        }
    }
}

/// Waits for a list that can be read.
fn install(node: &NodePaths, tell: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    tell(&node.put_program()?.to_string());
    let mut reported = String::new();
    loop {
        match node.put_entry()? {
            EntryAttempt::Done(done) => {
                tell(&done.to_string());
                return Ok(());
            }
            EntryAttempt::Waits(what) if what != reported => {
                tell(&what);
                reported = what;
            }
            EntryAttempt::Waits(_) => {}
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// The options of one verb.
struct VerbOptions<'a> {
    verb: &'static str,
    texts: &'a [String],
}

impl<'a> VerbOptions<'a> {
    const fn of(verb: &'static str, texts: &'a [String]) -> Self {
        Self { verb, texts }
    }

    fn known(&self, names: &[&str], flags: &[&str]) -> Result<(), ArgumentError> {
        let is_known = |text: &&String| {
            flags.contains(&text.as_str()) || names.iter().any(|name| value(text, name).is_some())
        };
        match self.texts.iter().find(|text| !is_known(text)) {
            Some(option) => Err(ArgumentError::Option {
                verb: self.verb,
                option: option.clone(),
            }),
            None => Ok(()),
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.texts.iter().any(|text| text == flag)
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
