//! The courier's tasks.

use std::path::PathBuf;
use std::sync::Arc;

use postern_intent::{KeySet, NodeName, Uid};
use tokio::sync::{mpsc, watch};

use super::intent::{self, Intents};
use super::line::Line;
use super::numbers::Numbers;
use super::papers::{self, Papers};
use super::report::{self, Reports};
use super::way::Way;
use crate::agent::News;

/// What the courier is to do.
#[derive(Debug, Clone)]
pub struct Orders {
    /// Where the API server is.
    pub way: Way,
    /// This node.
    pub node: NodeName,
    /// Where documents are put; the folder is there.
    pub inbox: PathBuf,
    /// The agent's report.
    pub report: PathBuf,
    /// Where the node's UID is remembered.
    pub state_dir: PathBuf,
    /// The UID that the agent starts with; none when the command line gave it, and the token is not asked.
    pub uid: Option<Uid>,
    /// The folder of public keys, where there is one.
    pub trust_dir: Option<PathBuf>,
    /// What was in it at the start.
    pub installed: KeySet,
    /// Metrics.
    pub numbers: Numbers,
}

/// Starts the tasks and returns at once; they end with the runtime. What the node's own files say anew comes by `news`.
pub fn start(orders: Orders, news: mpsc::Sender<News>) {
    // Two providers in one program make the TLS library stop the process: whoever came first has chosen the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let line = |name| Line::new(name, orders.numbers.clone());
    let (breaks, broken) = watch::channel(0);
    tokio::spawn(intent::run(Intents {
        way: orders.way.clone(),
        node: orders.node.clone(),
        inbox: orders.inbox,
        line: Arc::new(line("intents")),
        news: news.clone(),
        broken,
    }));
    tokio::spawn(report::run(Reports {
        way: orders.way.clone(),
        node: orders.node.clone(),
        file: orders.report,
        line: Arc::new(line("reports")),
        broken: breaks,
    }));
    let token = line("token");
    tokio::spawn(papers::run(
        Papers {
            way: orders.way,
            node: orders.node,
            state_dir: orders.state_dir,
            uid: orders.uid,
            trust_dir: orders.trust_dir,
            installed: orders.installed,
            news,
        },
        token,
    ));
}
