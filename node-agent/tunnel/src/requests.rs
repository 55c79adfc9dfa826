//! The request files: one empty file per tunnel, named like its interface.

use std::{collections::BTreeSet, fs, io, path::PathBuf, time::Duration};

use futures::StreamExt;
use inotify::{Event, EventStream, Inotify, WatchMask};

use crate::{FolderError, TunnelName};

/// A lost notification delays a request by this much at most.
const RESCAN: Duration = Duration::from_secs(5);

const EVENT_BUFFER: usize = 4096;

/// The folder `RUN_DIR/tunnels`, watched.
///
/// A notification is only a reason to look again: what counts is always the whole listing, so a
/// queue overflow or a folder that is deleted and made again loses nothing.
pub struct RequestFolder {
    path: PathBuf,
    events: Option<EventStream<[u8; EVENT_BUFFER]>>,
    refused: BTreeSet<String>,
}

impl RequestFolder {
    /// Makes the folder if it is missing.
    ///
    /// # Errors
    /// [`FolderError::Make`].
    pub fn open(path: PathBuf) -> Result<Self, FolderError> {
        make(&path)?;
        Ok(Self {
            path,
            events: None,
            refused: BTreeSet::new(),
        })
    }

    /// The tunnels asked for now. A name that is not a tunnel's is logged once and left alone.
    ///
    /// The watch is set before the listing, so that no file falls between the two.
    ///
    /// # Errors
    /// [`FolderError::Make`], [`FolderError::Watch`] or [`FolderError::List`].
    pub fn requests(&mut self) -> Result<BTreeSet<TunnelName>, FolderError> {
        if self.events.is_none() {
            make(&self.path)?;
            self.events = Some(watch(&self.path)?);
        }
        let names = list(&self.path).map_err(|source| FolderError::List {
            path: self.path.clone(),
            source,
        })?;
        let mut wanted = BTreeSet::new();
        let mut refused = BTreeSet::new();
        for name in names {
            match name.parse::<TunnelName>() {
                Ok(name) => {
                    wanted.insert(name);
                }
                Err(reason) => {
                    if !self.refused.contains(&name) {
                        tracing::warn!(file = %name, %reason, "request refused");
                    }
                    refused.insert(name);
                }
            }
        }
        self.refused = refused;
        Ok(wanted)
    }

    /// Waits until the listing may have changed, 5 s at most.
    pub async fn changed(&mut self) {
        let Some(events) = self.events.as_mut() else {
            return tokio::time::sleep(RESCAN).await;
        };
        match tokio::time::timeout(RESCAN, events.next()).await {
            Err(_) => {}
            Ok(Some(Ok(event))) if !ends_the_watch(&event) => {}
            Ok(_) => self.events = None,
        }
    }
}

/// The kernel sends `IN_IGNORED` last, when the watched folder itself is gone (inotify(7)).
fn ends_the_watch<S>(event: &Event<S>) -> bool {
    use inotify::EventMask;
    event
        .mask
        .intersects(EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF)
}

fn make(path: &PathBuf) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|source| FolderError::Make {
        path: path.clone(),
        source,
    })
}

fn watch(path: &PathBuf) -> Result<EventStream<[u8; EVENT_BUFFER]>, FolderError> {
    let failed = |source| FolderError::Watch {
        path: path.clone(),
        source,
    };
    let inotify = Inotify::init().map_err(failed)?;
    let mask = WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    inotify.watches().add(path, mask).map_err(failed)?;
    inotify.into_event_stream([0; EVENT_BUFFER]).map_err(failed)
}

fn list(path: &PathBuf) -> io::Result<Vec<String>> {
    fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &BTreeSet<TunnelName>) -> Vec<&str> {
        found.iter().map(TunnelName::as_str).collect()
    }

    async fn changed_soon(folder: &mut RequestFolder) {
        let waited = tokio::time::timeout(Duration::from_secs(2), folder.changed()).await;
        assert!(waited.is_ok(), "no notification came");
    }

    #[tokio::test]
    async fn a_request_file_is_seen_when_it_comes_and_when_it_goes() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tunnels");
        let mut folder = RequestFolder::open(path.clone()).unwrap();
        assert!(folder.requests().unwrap().is_empty());
        fs::write(path.join("pst-c-a"), "").unwrap();
        changed_soon(&mut folder).await;
        assert_eq!(names(&folder.requests().unwrap()), ["pst-c-a"]);
        fs::remove_file(path.join("pst-c-a")).unwrap();
        changed_soon(&mut folder).await;
        assert!(folder.requests().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_foreign_name_is_no_request() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = RequestFolder::open(root.path().to_path_buf()).unwrap();
        fs::write(root.path().join("eth0"), "").unwrap();
        fs::write(root.path().join("pst-s-b"), "").unwrap();
        assert_eq!(names(&folder.requests().unwrap()), ["pst-s-b"]);
    }

    #[tokio::test]
    async fn a_folder_that_is_deleted_and_made_again_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tunnels");
        let mut folder = RequestFolder::open(path.clone()).unwrap();
        folder.requests().unwrap();
        fs::remove_dir(&path).unwrap();
        changed_soon(&mut folder).await;
        assert!(folder.requests().unwrap().is_empty());
        fs::write(path.join("pst-c-a"), "").unwrap();
        changed_soon(&mut folder).await;
        assert_eq!(names(&folder.requests().unwrap()), ["pst-c-a"]);
    }
}
