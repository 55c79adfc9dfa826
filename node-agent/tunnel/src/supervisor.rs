//! Brings what is served in line with what is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time};

use crate::{FolderError, RequestFolder, TunnelName, session::serve, socket::remove_if_there};

/// The library waits for its own tasks when it stops; a process that is told to end does not wait
/// longer than this for them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A folder that cannot be read is tried again after this.
const FOLDER_RETRY: Duration = Duration::from_secs(1);

/// The folder that agent and tunnel process share.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Names the folder; nothing is made yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where the agent drops request files.
    #[must_use]
    pub fn requests(&self) -> PathBuf {
        self.root.join("tunnels")
    }

    /// Where the configuration sockets are.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.root.join("wireguard")
    }

    /// The configuration socket of one tunnel.
    #[must_use]
    pub fn socket(&self, name: &TunnelName) -> PathBuf {
        self.sockets().join(format!("{name}.sock"))
    }
}

/// Serves every tunnel that has a request file, until `stop` is ready.
///
/// A tunnel that fails is tried again by itself; it never ends this function or another tunnel.
/// At the end the sockets are gone and the TUNs, being the agent's, stay.
///
/// # Errors
/// [`FolderError`] when the folders cannot be made at the start.
pub async fn run(dir: &RunDir, stop: impl Future<Output = ()>) -> Result<(), FolderError> {
    make_private(&dir.sockets())?;
    let mut folder = RequestFolder::open(dir.requests())?;
    let mut served = ServedTunnels::new(dir.clone());
    tokio::pin!(stop);
    loop {
        let pause = match folder.requests() {
            Ok(wanted) => {
                served.reconcile(&wanted).await;
                Duration::ZERO
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "what is served stays as it is");
                FOLDER_RETRY
            }
        };
        tokio::select! {
            () = &mut stop => break,
            () = async { time::sleep(pause).await; folder.changed().await } => {}
        }
    }
    served.reconcile(&BTreeSet::new()).await;
    Ok(())
}

fn make_private(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|source| FolderError::Make {
        path: path.to_path_buf(),
        source,
    })?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|source| {
        FolderError::Restrict {
            path: path.to_path_buf(),
            source,
        }
    })
}

/// The tunnels that have a task.
struct ServedTunnels {
    dir: RunDir,
    tasks: BTreeMap<TunnelName, Task>,
}

struct Task {
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

impl ServedTunnels {
    fn new(dir: RunDir) -> Self {
        Self {
            dir,
            tasks: BTreeMap::new(),
        }
    }

    /// Stops what is no longer asked for, starts what is, and starts again what ended by itself.
    async fn reconcile(&mut self, wanted: &BTreeSet<TunnelName>) {
        let ended: Vec<_> = self
            .tasks
            .extract_if(.., |name, task| {
                !wanted.contains(name) || task.handle.is_finished()
            })
            .collect();
        // All are told before one is waited for.
        for (_, task) in &ended {
            task.stop.send_replace(true);
        }
        for (name, task) in ended {
            self.finish(&name, task).await;
        }
        for name in wanted {
            if !self.tasks.contains_key(name) {
                let task = start(name, self.dir.socket(name));
                self.tasks.insert(name.clone(), task);
            }
        }
    }

    async fn finish(&self, name: &TunnelName, task: Task) {
        let abort = task.handle.abort_handle();
        match time::timeout(STOP_TIMEOUT, task.handle).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(tunnel = %name, %error, "tunnel task failed"),
            Err(_) => {
                tracing::error!(tunnel = %name, "tunnel task does not end, cut off");
                abort.abort();
            }
        }
        if let Err(error) = remove_if_there(&self.dir.socket(name)) {
            tracing::warn!(tunnel = %name, %error, "socket file stays behind");
        }
    }
}

fn start(name: &TunnelName, socket: PathBuf) -> Task {
    let (stop, stopped) = watch::channel(false);
    let handle = tokio::spawn(serve(name.clone(), socket, stopped));
    Task { stop, handle }
}
