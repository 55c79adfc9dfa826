//! The pods that went while no agent was there to be told.
//!
//! One file per container in the folder `departed` beside the agent's socket. The agent reads
//! them before its next ADD, so that no binding of a pod that is gone survives into the next one.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::protocol::Attachment;

/// The folder of the markers.
#[derive(Clone, Debug)]
pub struct DepartedFolder {
    path: PathBuf,
}

impl DepartedFolder {
    /// The folder that belongs to an agent's socket.
    #[must_use]
    pub fn beside(socket: &Path) -> Self {
        Self {
            path: socket.with_file_name("departed"),
        }
    }

    /// Leaves a marker, whole or not at all.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn leave(&self, attachment: &Attachment) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        // A leading dot cannot begin a container's id, and the process id keeps two callers apart.
        let unfinished = self.path.join(format!(
            ".{}.{}",
            attachment.container_id,
            std::process::id()
        ));
        let mut file = fs::File::create(&unfinished)?;
        let written = file
            .write_all(&serde_json::to_vec(attachment)?)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, self.marker(attachment)));
        if written.is_err() {
            // What counts is that writing failed; a leftover with a dot is never read.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// The markers, sorted by container. A marker that cannot be read still names its container.
    ///
    /// # Errors
    /// Whatever the file system answers; a missing folder has no markers.
    pub fn list(&self) -> io::Result<Vec<Attachment>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let container_id = entry?.file_name().to_string_lossy().into_owned();
            if container_id.starts_with('.') {
                continue;
            }
            let text = fs::read(self.path.join(&container_id)).unwrap_or_default();
            let ifname = serde_json::from_slice::<Attachment>(&text)
                .map(|attachment| attachment.ifname)
                .unwrap_or_default();
            found.push(Attachment {
                container_id,
                ifname,
            });
        }
        found.sort();
        Ok(found)
    }

    /// Removes the marker of a departure that was worked off.
    ///
    /// # Errors
    /// Whatever the file system answers; a marker that is not there is no error.
    pub fn forget(&self, attachment: &Attachment) -> io::Result<()> {
        match fs::remove_file(self.marker(attachment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn marker(&self, attachment: &Attachment) -> PathBuf {
        self.path.join(&attachment.container_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(container: &str) -> Attachment {
        Attachment {
            container_id: container.to_owned(),
            ifname: "eth0".to_owned(),
        }
    }

    #[test]
    fn markers_are_listed_until_they_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let folder = DepartedFolder::beside(&root.path().join("agent.sock"));
        assert_eq!(folder.list().unwrap(), []);
        folder.leave(&attachment("b")).unwrap();
        folder.leave(&attachment("a")).unwrap();
        folder.leave(&attachment("a")).unwrap();
        assert_eq!(folder.list().unwrap(), [attachment("a"), attachment("b")]);
        folder.forget(&attachment("a")).unwrap();
        folder.forget(&attachment("a")).unwrap();
        assert_eq!(folder.list().unwrap(), [attachment("b")]);
    }

    #[test]
    fn an_unfinished_marker_is_not_listed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("departed")).unwrap();
        fs::write(root.path().join("departed/.c1.7"), "{").unwrap();
        let folder = DepartedFolder::beside(&root.path().join("agent.sock"));
        assert_eq!(folder.list().unwrap(), []);
    }
}
