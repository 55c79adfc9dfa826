//! The agent's task of the uplinks on a real kernel, without the rest of the agent: it dies and starts again within milliseconds.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use postern_agent::isolation::{self, IsolationOptions, PublishedUplinks, UplinkOrder};
use postern_e2e::lab::sandbox::netns::Namespace;
use postern_linux::{BackendPreference, LinuxHost, LinuxOptions, PrivateKey};
use tokio::sync::{mpsc, oneshot, watch};

/// A task in a thread with a runtime of its own.
pub(super) struct AgentTask {
    orders: mpsc::UnboundedSender<UplinkOrder>,
    found: watch::Receiver<PublishedUplinks>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl AgentTask {
    pub(super) fn start(namespace: &Namespace, state_dir: &Path) -> Self {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (started, is_started) = std::sync::mpsc::channel();
        let (namespace, state_dir) = (namespace.clone(), state_dir.to_owned());
        let thread = std::thread::spawn(move || {
            let inside = || {
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.enable_all().build().unwrap();
                runtime.block_on(run(&state_dir, ordered, stopped, &started));
                Ok(())
            };
            namespace.run(inside).unwrap();
        });
        Self {
            orders,
            found: is_started.recv().unwrap(),
            stop,
            thread,
        }
    }

    pub(super) fn order(&self, order: UplinkOrder) {
        self.orders.send(order).unwrap();
    }

    pub(super) fn found(&self) -> PublishedUplinks {
        self.found.borrow().clone()
    }

    /// It ends where it waits for the kernel, for an answer or for its files, and leaves what it has begun as it is.
    pub(super) fn dies(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

async fn run(
    state_dir: &Path,
    mut ordered: mpsc::UnboundedReceiver<UplinkOrder>,
    mut stopped: oneshot::Receiver<()>,
    started: &std::sync::mpsc::Sender<watch::Receiver<PublishedUplinks>>,
) {
    let host = LinuxHost::new(LinuxOptions {
        run_dir: state_dir.to_owned(),
        private_key: PrivateKey::from_bytes([7; 32]),
        backend: BackendPreference::Userspace,
    });
    let changes = postern_linux::watch().unwrap();
    let events = futures::stream::unfold(changes, async |mut changes| {
        changes.recv().await.map(|_| ((), changes))
    });
    let options = IsolationOptions {
        state_dir: state_dir.to_owned(),
        pod_links: Vec::new(),
    };
    let task = isolation::start(host, options, Box::pin(events));
    started.send(task.changes()).unwrap();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            order = ordered.recv() => match order {
                Some(order) => task.order(order),
                None => tokio::time::sleep(Duration::MAX).await,
            },
        }
    }
}
