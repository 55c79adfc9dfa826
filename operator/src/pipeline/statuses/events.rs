//! A notice for people, and the Event (`events.k8s.io`) that it becomes. Pure.

use postern_crds::names::API_VERSION;

/// Is it good or bad news?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventTone {
    Normal,
    Warning,
}

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EventTarget {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    pub uid: Option<String>,
}

impl EventTarget {
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

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventNotice {
    /// What it is about.
    pub regarding: EventTarget,
    pub tone: EventTone,
    /// One word, of the conditions' vocabulary.
    pub reason: String,
    /// What was being done or looked at.
    pub action: String,
    pub note: String,
}
