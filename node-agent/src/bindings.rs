//! Bindings as a file beside the ledger, durable before a CNI ADD is answered, and markers of pods that went while the
//! agent was away.

use std::path::{Path, PathBuf};

use postern_cni::departed::DepartedFolder;
use postern_plan::binding::Bindings;

use crate::files::{self, FileError, Readers};

/// The bindings and their file.
#[derive(Debug)]
pub struct BindingStore {
    path: PathBuf,
    departed: DepartedFolder,
    bindings: Bindings,
}

impl BindingStore {
    /// Opens the file in a folder; markers of the plugin lie in `run/departed`. A file that cannot be read or understood
    /// is put aside, and the error says why there are no bindings: the guard must not wait for it, and without a binding
    /// a pod has the addresses of the intent or is held.
    #[must_use]
    pub fn open(folder: &Path, run: &Path) -> (Self, Option<FileError>) {
        let path = folder.join("bindings.json");
        let (bindings, damage) = match load(&path) {
            Ok(bindings) => (bindings, None),
            Err(error) => {
                // Where not even that can be done, the next change of a binding writes over it or fails as such.
                drop(std::fs::rename(&path, folder.join("bindings.damaged.json")));
                (Bindings::default(), Some(error))
            }
        };
        let store = Self {
            path,
            departed: DepartedFolder::beside(&run.join("agent.sock")),
            bindings,
        };
        (store, damage)
    }

    #[must_use]
    pub const fn get(&self) -> &Bindings {
        &self.bindings
    }

    /// Removes a sandbox's binding.
    ///
    /// # Errors
    /// [`FileError::Write`]; nothing was removed.
    pub fn remove(&mut self, container: &str) -> Result<(), FileError> {
        self.change(|bindings| drop(bindings.remove(container)))
    }

    /// Removes every sandbox that is not named.
    ///
    /// # Errors
    /// [`FileError::Write`]; nothing was removed.
    pub fn keep_only(&mut self, containers: &[String]) -> Result<(), FileError> {
        let gone: Vec<String> = self
            .bindings
            .by_container
            .keys()
            .filter(|id| !containers.contains(id))
            .cloned()
            .collect();
        self.change(|bindings| {
            for id in &gone {
                bindings.remove(id);
            }
        })
    }

    /// A change, durable before this returns.
    ///
    /// # Errors
    /// [`FileError::Write`]; nothing was changed.
    pub fn change(&mut self, change: impl FnOnce(&mut Bindings)) -> Result<(), FileError> {
        let mut bindings = self.bindings.clone();
        change(&mut bindings);
        if bindings != self.bindings {
            files::write_json(&self.path, &bindings, Readers::Owner)?;
            self.bindings = bindings;
        }
        Ok(())
    }

    /// Works off the markers that the plugin left while the agent was away. A marker goes when its binding is gone.
    ///
    /// # Errors
    /// [`FileError`] for the first marker that could not be worked off.
    pub fn work_off_departures(&mut self) -> Result<usize, FileError> {
        let departed = self
            .departed
            .list()
            .map_err(|source| self.unreadable(source))?;
        for attachment in &departed {
            self.remove(&attachment.container_id)?;
            self.departed
                .forget(attachment)
                .map_err(|source| self.unreadable(source))?;
        }
        Ok(departed.len())
    }

    fn unreadable(&self, source: std::io::Error) -> FileError {
        FileError::Read {
            path: self.path.with_file_name("departed"),
            source,
        }
    }

    /// Forgets bindings whose interface is gone: the node was rebooted, or the pod went without a DEL.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn forget_missing(&mut self, links: &[String]) -> Result<(), FileError> {
        let gone: Vec<String> = self
            .bindings
            .by_container
            .iter()
            .filter(|(_, binding)| {
                !links
                    .iter()
                    .any(|link| link == binding.host_interface.as_str())
            })
            .map(|(id, _)| id.clone())
            .collect();
        self.change(|bindings| {
            for id in &gone {
                bindings.remove(id);
            }
        })
    }
}

fn load(path: &Path) -> Result<Bindings, FileError> {
    match files::read(path)? {
        None => Ok(Bindings::default()),
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|source| FileError::Content {
            path: path.to_owned(),
            source,
        }),
    }
}
