use std::path::PathBuf;
use std::sync::Arc;

use postern_apiserver::Endpoint;
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::{NodeName, Serial, TrustedKeys, Uid};
use tokio::sync::{mpsc, watch};

use super::confirm::{self, IntentQuestions};
use super::credentials::{self, NodeCredentials};
use super::documents::{DocumentSender, IntentKind};
use super::health::ApiHealth;
use super::intent::{self, IntentWatch};
use super::metrics::ApiMetrics;
use super::report::{self, ReportSender};
use crate::agent::NodeUpdate;
use crate::egress::IntentConfirmation;
use crate::report::LatestReport;

/// What the exchange with the API server is to do.
#[derive(Debug, Clone)]
pub struct ApiServerOptions {
    /// Where the API server is.
    pub endpoint: Endpoint,
    pub node: NodeName,
    /// Where documents are delivered to.
    pub documents: DocumentSender,
    pub reports: watch::Receiver<LatestReport>,
    /// Where the node's UID is remembered.
    pub state_dir: PathBuf,
    /// The UID that the agent starts with; none when the command line gave it, and the token is not asked.
    pub uid: Option<Uid>,
    /// The folder of public keys, where there is one.
    pub trust_dir: Option<PathBuf>,
    /// What was in it at the start.
    pub installed: TrustedKeys,
    pub metrics: ApiMetrics,
    /// The serial of the intent that is to be confirmed, and where answers go.
    pub wanted: watch::Receiver<Option<Serial>>,
    pub answers: watch::Sender<Option<IntentConfirmation>>,
}

/// Starts the tasks and returns at once; they end with the runtime. Changes of the node's own files are sent to `updates`.
pub fn start(options: ApiServerOptions, updates: mpsc::Sender<NodeUpdate>) {
    // Two providers in one program make the TLS library stop the process. An error means that one is installed, and every part
    // of the program installs this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let health = |name| ApiHealth::new(name, options.metrics.clone());
    let (breaks, broken) = watch::channel(0);
    for (kind, name, exchange) in [
        (IntentKind::Cluster, CLUSTER_INTENT, "cluster"),
        (IntentKind::Node, options.node.as_str(), "intents"),
    ] {
        tokio::spawn(intent::run(IntentWatch {
            endpoint: options.endpoint.clone(),
            kind,
            name: name.to_owned(),
            documents: options.documents.clone(),
            health: Arc::new(health(exchange)),
            updates: updates.clone(),
            broken: broken.clone(),
        }));
    }
    let sender = ReportSender {
        endpoint: options.endpoint.clone(),
        node: options.node.clone(),
        health: Arc::new(health("reports")),
        broken: breaks,
    };
    tokio::spawn(report::run(sender, options.reports));
    tokio::spawn(confirm::run(IntentQuestions {
        endpoint: options.endpoint.clone(),
        node: options.node.clone(),
        health: Arc::new(health("confirmations")),
        wanted: options.wanted,
        answers: options.answers,
    }));
    let token = health("token");
    tokio::spawn(credentials::run(
        NodeCredentials {
            endpoint: options.endpoint,
            node: options.node,
            state_dir: options.state_dir,
            uid: options.uid,
            trust_dir: options.trust_dir,
            installed: options.installed,
            updates,
        },
        token,
    ));
}
