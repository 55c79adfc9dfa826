//! Whether a tunnel process still answers, asked from outside of it.
//!
//! A process that hangs keeps packets in its TUNs and sends them when it goes on, by an exit that may not be in force any
//! more. It must be ended and never let go on, so its supervisor needs a question that a process which hangs cannot answer.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::{FolderError, RunDir, TunnelName};

/// The question of WireGuard's configuration protocol for a device's state; its answer comes from the device itself.
const QUESTION: &[u8] = b"get=1\n\n";

/// The tunnels whose socket took a connection, or could not take one more, and gave no answer within `patience`.
///
/// A tunnel without a socket, or with one that nobody listens on, is not among them: nobody serves it at the moment, which
/// ends by itself, and ending the process would end the other tunnels too.
///
/// # Errors
/// [`FolderError::List`] when the requests cannot be read; a folder that is not there has none.
pub async fn silent(dir: &RunDir, patience: Duration) -> Result<BTreeSet<TunnelName>, FolderError> {
    let names = requested(&dir.requests())?;
    let asked = names.into_iter().map(|name| async {
        let socket = dir.socket(&name);
        is_silent(socket, patience).await.then_some(name)
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

fn requested(folder: &Path) -> Result<Vec<TunnelName>, FolderError> {
    let failed = |source| FolderError::List {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // What is not the name of a tunnel is no request; the process that serves says so in its log.
        names.extend(name.to_string_lossy().parse::<TunnelName>());
    }
    Ok(names)
}

async fn is_silent(socket: PathBuf, patience: Duration) -> bool {
    match timeout(patience, ask(&socket)).await {
        Err(_) => true,
        Ok(Ok(())) => false,
        // `ENOENT` and `ECONNREFUSED`: nobody is there to hang. Reset and broken pipe: somebody closed the connection.
        Ok(Err(error)) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
        ),
    }
}

/// An answer, or the end of the connection, is a sign of life.
async fn ask(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(QUESTION).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(names: &[&str]) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir(folder.dir().requests()).unwrap();
            std::fs::create_dir(folder.dir().sockets()).unwrap();
            for name in names {
                std::fs::write(folder.dir().requests().join(name), "").unwrap();
            }
            folder
        }

        fn dir(&self) -> RunDir {
            RunDir::new(self.0.path().to_path_buf())
        }

        fn listen(&self, name: &str) -> tokio::net::UnixListener {
            let socket = self.dir().socket(&name.parse().unwrap());
            tokio::net::UnixListener::bind(socket).unwrap()
        }

        async fn silent(&self) -> Vec<String> {
            let names = silent(&self.dir(), PATIENCE).await.unwrap();
            names.iter().map(ToString::to_string).collect()
        }
    }

    #[tokio::test]
    async fn a_socket_that_takes_connections_and_never_answers_is_named_alone() {
        let folder = Folder::with(&["pst-c-hung", "pst-c-well", "eth0"]);
        let _hung = folder.listen("pst-c-hung");
        let well = folder.listen("pst-c-well");
        let answers = tokio::spawn(async move {
            let (mut stream, _) = well.accept().await.unwrap();
            stream.write_all(b"errno=0\n\n").await.unwrap();
        });
        assert_eq!(folder.silent().await, ["pst-c-hung"]);
        answers.await.unwrap();
    }

    #[tokio::test]
    async fn a_tunnel_that_nobody_serves_is_not_one_that_hangs() {
        let folder = Folder::with(&["pst-c-absent", "pst-s-stale"]);
        drop(folder.listen("pst-s-stale"));
        assert_eq!(folder.silent().await, [""; 0]);
    }

    #[tokio::test]
    async fn before_the_first_request_nothing_hangs() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::new(root.path().join("not-there"));
        assert!(silent(&dir, PATIENCE).await.unwrap().is_empty());
    }
}
