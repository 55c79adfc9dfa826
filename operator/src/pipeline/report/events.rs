//! Events (`events.k8s.io`), aggregated: the same news of the same object within six minutes is a count, not another
//! Event.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use postern_crds::names::{API_VERSION, OPERATOR_FIELD_MANAGER};
use tracing::debug;

use crate::metrics::{Metrics, Written};

/// How long an Event may take: it is not worth more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Is it good or bad news?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// For the record.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Regarding {
    /// Its API version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
}

impl Regarding {
    /// One of our own kinds.
    #[must_use]
    pub fn own(kind: &str, namespace: Option<String>, name: &str, uid: Option<String>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
            uid,
        }
    }

    /// A node.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            // The kubelet's Events about a node carry its name as UID, and `kubectl describe node` looks for that.
            uid: Some(name.to_owned()),
            namespace: None,
        }
    }

    /// A namespace.
    #[must_use]
    pub fn namespace(name: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// A ConfigMap or Secret of the operator's namespace.
    #[must_use]
    pub fn core(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
            uid: None,
        }
    }
}

/// News.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub regarding: Regarding,
    /// Good or bad.
    pub tone: Tone,
    /// One word, of the conditions' vocabulary.
    pub reason: String,
    /// What was being done or looked at.
    pub action: String,
    /// A sentence.
    pub note: String,
}

/// Tells people.
#[derive(Clone)]
pub struct Herald {
    recorder: Recorder,
    metrics: Metrics,
}

impl Herald {
    /// As this process.
    #[must_use]
    pub fn new(client: Client, instance: &str, metrics: Metrics) -> Self {
        let reporter = Reporter {
            controller: format!("postern.dev/{OPERATOR_FIELD_MANAGER}"),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            metrics,
        }
    }

    /// Tells. An Event that cannot be written is lost: conditions and metrics say the same.
    pub async fn tell(&self, notice: &Notice) {
        let event = Event {
            type_: match notice.tone {
                Tone::Normal => EventType::Normal,
                Tone::Warning => EventType::Warning,
            },
            reason: notice.reason.clone(),
            note: Some(notice.note.chars().take(1024).collect()),
            action: notice.action.clone(),
            secondary: None,
        };
        let about = &notice.regarding;
        let reference = ObjectReference {
            api_version: Some(about.api_version.clone()),
            kind: Some(about.kind.clone()),
            namespace: about.namespace.clone(),
            name: Some(about.name.clone()),
            uid: about.uid.clone(),
            ..ObjectReference::default()
        };
        let told = tokio::time::timeout(PATIENCE, self.recorder.publish(&event, &reference)).await;
        match told {
            Ok(Ok(())) => self.metrics.wrote(Written::Event),
            Ok(Err(error)) => debug!(%error, reason = notice.reason, "the Event was not written"),
            Err(_) => debug!(reason = notice.reason, "the Event took too long"),
        }
    }
}
