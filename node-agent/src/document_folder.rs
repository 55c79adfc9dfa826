//! The folder of documents: the source of an agent without an API server, and the copy of what came from one. A restarted
//! agent begins with what is in it, in both cases.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use inotify::{Inotify, WatchMask};
use postern_intent::envelope::ENVELOPE_LIMIT;
use thiserror::Error;
use tokio::sync::watch;

use crate::files::{self, FileError, Readers};
use crate::inbox::{DocumentKind, SourceDocuments};
use crate::latest::send_other;

/// Why changes of the folder are seen at the next reading only.
#[derive(Debug, Error)]
#[error("the intent folder {} cannot be watched", path.display())]
pub struct FolderWatchError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

type FolderEvents = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// A folder with a file for each kind of document.
#[derive(Debug, Clone)]
pub struct DocumentFolder {
    path: PathBuf,
}

impl DocumentFolder {
    /// The folder at this place; it need not exist yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The documents in the folder.
    ///
    /// # Errors
    /// [`FileError::Read`] for the first one that cannot be read: the others are not given either, because what one says may
    /// depend on another.
    pub fn read(&self) -> Result<SourceDocuments, FileError> {
        let mut documents = SourceDocuments::new();
        for kind in DocumentKind::ALL {
            let bytes = files::read_at_most(&self.path.join(kind.file()), ENVELOPE_LIMIT)?;
            documents.extend(bytes.map(|bytes| (kind, bytes)));
        }
        Ok(documents)
    }

    /// Makes the folder hold these documents and no others. A file that has the right content is left alone.
    ///
    /// # Errors
    /// [`FileError`] for the first file that cannot be read, written or removed.
    pub fn write(&self, documents: &SourceDocuments) -> Result<(), FileError> {
        for kind in DocumentKind::ALL {
            let path = self.path.join(kind.file());
            match documents.get(&kind) {
                Some(bytes) if files::read(&path)?.as_ref() == Some(bytes) => {}
                Some(bytes) => files::write(&path, bytes, Readers::Owner)?,
                None => files::remove(&path)?,
            }
        }
        Ok(())
    }

    /// Sends what the folder holds whenever that changes, from a task of its own. The folder is read at each event, and
    /// every `check` because an event may be lost.
    ///
    /// # Errors
    /// [`FolderWatchError`]: the folder is read every `check` all the same.
    pub fn follow(
        self,
        documents: watch::Sender<SourceDocuments>,
        check: Duration,
    ) -> Result<(), FolderWatchError> {
        let (events, watched) = match self.events() {
            Ok(events) => (events, Ok(())),
            Err(source) => {
                let path = self.path.clone();
                let never: FolderEvents = Box::pin(stream::pending());
                (never, Err(FolderWatchError { path, source }))
            }
        };
        tokio::spawn(self.send_changes(events, documents, check));
        watched
    }

    fn events(&self) -> std::io::Result<FolderEvents> {
        std::fs::create_dir_all(&self.path)?;
        let inotify = Inotify::init()?;
        let mask = WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::DELETE;
        inotify.watches().add(&self.path, mask)?;
        Ok(Box::pin(
            inotify.into_event_stream(vec![0; 4096])?.map(|_| ()),
        ))
    }

    async fn send_changes(
        self,
        mut events: FolderEvents,
        documents: watch::Sender<SourceDocuments>,
        check: Duration,
    ) {
        while !documents.is_closed() {
            match self.read() {
                Ok(found) => send_other(&documents, found),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the intent folder cannot be read"
                ),
            }
            // An event or the end of the pause: both lead to a reading. A stream that ended has no pause of its own.
            if let Ok(None) = tokio::time::timeout(check, events.next()).await {
                tracing::warn!(
                    "the intent folder is not watched any more; it is read at every check"
                );
                events = Box::pin(stream::pending());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_document_beside_one_that_cannot_be_read_is_given_once_everything_can_be_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = DocumentFolder::new(place.path().to_owned());
        let path = |kind: DocumentKind| place.path().join(kind.file());
        std::fs::write(path(DocumentKind::Keys), "keys").unwrap();
        std::fs::create_dir(path(DocumentKind::Intent)).unwrap();
        assert!(folder.read().is_err(), "a folder is no file");
        std::fs::remove_dir(path(DocumentKind::Intent)).unwrap();
        let keys = (DocumentKind::Keys, b"keys".to_vec());
        assert_eq!(folder.read().unwrap(), [keys].into());
    }

    #[test]
    fn the_copy_has_what_the_source_has_and_is_written_only_where_it_differs() {
        let place = tempfile::tempdir().unwrap();
        let folder = DocumentFolder::new(place.path().to_owned());
        let inode = || {
            let file = place.path().join(DocumentKind::Keys.file());
            std::fs::metadata(file).unwrap().ino()
        };
        let keys = (DocumentKind::Keys, b"keys".to_vec());
        let intent = (DocumentKind::Intent, b"intent".to_vec());
        folder.write(&[keys.clone(), intent].into()).unwrap();
        let written = inode();
        let release = (DocumentKind::Release, b"release".to_vec());
        let documents = [keys, release].into();
        folder.write(&documents).unwrap();
        assert_eq!(folder.read().unwrap(), documents);
        assert_eq!(inode(), written);
    }

    #[tokio::test]
    async fn what_is_put_into_a_folder_that_was_not_there_is_sent() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("later");
        let (sender, mut documents) = watch::channel(SourceDocuments::new());
        let folder = DocumentFolder::new(path.clone());
        folder.follow(sender, Duration::from_secs(3600)).unwrap();
        let file = path.join(DocumentKind::Intent.file());
        std::fs::write(&file, "intent").unwrap();
        documents.changed().await.unwrap();
        let intent = (DocumentKind::Intent, b"intent".to_vec());
        assert_eq!(*documents.borrow_and_update(), [intent].into());
        std::fs::remove_file(&file).unwrap();
        documents.changed().await.unwrap();
        assert_eq!(*documents.borrow_and_update(), SourceDocuments::new());
    }
}
