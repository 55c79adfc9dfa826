//! A node's folders with the exchange between them and the fake API server.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_agent::agent::NodeUpdate;
use postern_agent::apiserver::documents::DocumentSender;
use postern_agent::apiserver::metrics::ApiMetrics;
use postern_agent::apiserver::{self, ApiServerOptions};
use postern_agent::document_folder::DocumentFolder;
use postern_agent::inbox::SourceDocuments;
use postern_agent::report::LatestReport;
use postern_apiserver::Endpoint;
use postern_crds::NodeReport;
use postern_intent::TrustedKeys;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::fake::Fake;

/// The longest wait for anything that is to happen.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Node {
    pub(crate) folder: TempDir,
    pub(crate) metrics: ApiMetrics,
    pub(crate) updates: mpsc::Receiver<NodeUpdate>,
    pub(crate) reports: watch::Sender<LatestReport>,
}

/// A token bound to node `n1`; its last part tells one from another.
pub(crate) fn token(node_uid: &str, signature: &str) -> String {
    let claims = json!({"kubernetes.io": {"node": {"name": "n1", "uid": node_uid}}});
    format!(
        "e30.{}.{signature}",
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

pub(crate) fn envelope(payload: &str) -> Value {
    json!({"payloadType": "application/vnd.postern.dev.intent.v1+json+gzip", "payload": payload,
        "signatures": [{"keyid": "k", "sig": "c2ln"}]})
}

pub(crate) fn spec(payload: &str) -> Value {
    json!({"nodeUID": "u1", "serial": 1, "envelope": envelope(payload)})
}

/// The spec of the NodeIntent for all nodes.
pub(crate) fn cluster_spec(payload: &str) -> Value {
    let mut envelope = envelope(payload);
    envelope["payloadType"] = json!("application/vnd.postern.dev.cluster.v1+json+gzip");
    json!({"nodeUID": "cluster", "serial": 1, "envelope": envelope})
}

/// The status of a report; the agent does not know the generation of the object when it composes the report.
pub(crate) fn status(version: &str) -> Value {
    json!({"agentVersion": version, "released": false, "conditions": [{"type": "FailClosed", "status": "True",
        "reason": "Sealed", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
}

impl Node {
    /// Folders and files, without the exchange.
    pub(crate) fn prepared(fake: &Fake) -> (TempDir, ApiServerOptions) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["inbox", "state", "trust"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("token"), token("u1", "a")).unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", fake.address)}}],
            "users": [{"name": "u", "user": {"tokenFile": path("token")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(path("kubeconfig"), kubeconfig.to_string()).unwrap();
        let options = ApiServerOptions {
            endpoint: Endpoint::of_node(Some(path("kubeconfig"))),
            node: "n1".parse().unwrap(),
            documents: DocumentSender::new(
                watch::Sender::new(SourceDocuments::new()),
                DocumentFolder::new(path("inbox")),
            ),
            reports: watch::Sender::default().subscribe(),
            state_dir: path("state"),
            uid: Some("u1".parse().unwrap()),
            trust_dir: None,
            installed: TrustedKeys::default(),
            metrics: ApiMetrics::default(),
            wanted: watch::Sender::default().subscribe(),
            answers: watch::Sender::default(),
        };
        (folder, options)
    }

    pub(crate) fn started(fake: &Fake) -> Self {
        let (folder, options) = Self::prepared(fake);
        Self::with(folder, options)
    }

    pub(crate) fn with(folder: TempDir, mut options: ApiServerOptions) -> Self {
        let (reports, latest) = watch::channel(None);
        options.reports = latest;
        let (sender, updates) = mpsc::channel(4);
        let metrics = options.metrics.clone();
        apiserver::start(options, sender);
        Self {
            folder,
            metrics,
            updates,
            reports,
        }
    }

    pub(crate) fn document(&self, name: &str) -> PathBuf {
        self.folder.path().join("inbox").join(name)
    }

    /// The payload of the intent that lies in the inbox.
    pub(crate) fn intent(&self) -> Option<Value> {
        self.payload("intent.dsse.json")
    }

    fn payload(&self, file: &str) -> Option<Value> {
        let bytes = std::fs::read(self.document(file)).ok()?;
        let envelope: Value = serde_json::from_slice(&bytes).unwrap();
        Some(envelope["payload"].clone())
    }

    pub(crate) async fn has_intent(&self, payload: &str) {
        until(&format!("the intent {payload} is in the inbox"), || {
            self.intent() == Some(json!(payload))
        })
        .await;
    }

    pub(crate) async fn has_cluster(&self, payload: &str) {
        until(
            &format!("the cluster document {payload} is in the inbox"),
            || self.payload("cluster.dsse.json") == Some(json!(payload)),
        )
        .await;
    }

    /// The agent publishes a report.
    pub(crate) fn publish_report(&self, version: &str) {
        let report = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
            "metadata": {"name": "n1"}, "spec": {"nodeUID": "u1"},
            "status": status(version)});
        let report: NodeReport = serde_json::from_value(report).unwrap();
        self.reports.send_replace(Some(report.into()));
    }
}

/// Polls until it is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < DEADLINE, "never seen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
