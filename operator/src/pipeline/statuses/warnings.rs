//! Events about objects that have no status of the operator: intents, the memory, keys, what cannot be read. Pure.

use std::collections::BTreeMap;

use postern_compile::first_names;
use postern_compile::publish::{DocumentLoss, PublishedState};
use postern_crds::conditions::Reason;
use postern_crds::names::{CLUSTER_INTENT, MEMORY_CONFIG_MAP};
use postern_intent::NodeName;

use super::events::{EventNotice, EventTarget, EventTone};
use crate::error::chain;
use crate::lease::LEASE;
use crate::pipeline::gather::ReadProblem;
use crate::pipeline::intents::{IntentState, IntentStates};
use crate::pipeline::memory::{LoadedMemory, UnwrittenPage};
use crate::signer::{SECRET, SignerError, TRUST};
use crate::watches::WatchedKind;

/// Notices by the object's name and what the notice is about.
pub(super) type NamedNotices = BTreeMap<(String, String), EventNotice>;

/// Pages of the memory that the API server refuses.
pub(super) fn of_unwritten(namespace: &str, pages: &[UnwrittenPage]) -> NamedNotices {
    let mut notices = NamedNotices::new();
    for page in pages {
        let name = page.page.config_map();
        let regarding = EventTarget::core("ConfigMap", namespace, &name);
        // The API server's words come last: they are long, and a note is cut.
        let note = format!(
            "policies of these namespaces cannot be remembered: {}. They stay enforced; after a change of the leading \
             operator a person approves what they would release. The API server refuses the page: {}",
            first_names(&page.namespaces),
            page.why
        );
        let notice = warning(regarding, Reason::NotDurable, "Remember", note);
        notices.insert((name, String::new()), notice);
    }
    notices
}

/// A memory that cannot be read.
pub(super) fn of_damaged_memory(namespace: &str, loaded: LoadedMemory) -> NamedNotices {
    if loaded != LoadedMemory::Damaged {
        return NamedNotices::new();
    }
    let note = "the memory cannot be read; what is held waits for a person";
    let regarding = EventTarget::core("ConfigMap", namespace, MEMORY_CONFIG_MAP);
    let notice = warning(regarding, Reason::Malformed, "Recall", note.to_owned());
    [((MEMORY_CONFIG_MAP.to_owned(), String::new()), notice)].into()
}

/// A signing key that is lost; regarding the lease, which the leader has for certain.
pub(super) fn of_lost_key(namespace: &str, problem: Option<&SignerError>) -> NamedNotices {
    let Some(problem) = problem else {
        return NamedNotices::new();
    };
    about_lease(namespace, Reason::SigningKeyLost, chain(problem))
}

/// Nodes that trust other keys than those that sign, as after a reinstallation without the key.
pub(super) fn of_other_keys(namespace: &str, nodes: &[&NodeName]) -> NamedNotices {
    if nodes.is_empty() {
        return NamedNotices::new();
    }
    let note = format!(
        "{} nodes trust none of the signing keys and refuse every intent: {}. Put the former key into Secret {SECRET}, or \
         follow the runbook \"A lost signing key\" of docs/operator.md",
        nodes.len(),
        first_names(nodes)
    );
    about_lease(namespace, Reason::UnknownKey, note)
}

fn about_lease(namespace: &str, reason: Reason, note: String) -> NamedNotices {
    let regarding = EventTarget {
        api_version: "coordination.k8s.io/v1".to_owned(),
        kind: "Lease".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: LEASE.to_owned(),
        uid: None,
    };
    let notice = warning(regarding, reason, "Sign", note);
    [((LEASE.to_owned(), String::new()), notice)].into()
}

/// Another writer changed the trust root, or the keys changed.
pub(in crate::pipeline) fn trust_repaired(namespace: &str) -> EventNotice {
    let regarding = EventTarget::core("ConfigMap", namespace, TRUST);
    let note = "it said something else than the signing keys and is put right";
    warning(regarding, Reason::Repaired, "Trust", note.to_owned())
}

pub(super) fn warning(
    regarding: EventTarget,
    reason: Reason,
    action: &str,
    note: String,
) -> EventNotice {
    EventNotice {
        regarding,
        tone: EventTone::Warning,
        reason: reason.to_string(),
        action: action.to_owned(),
        note,
    }
}

/// Intents that another writer deleted or changed.
pub(super) fn of_intents(published: &IntentStates) -> NamedNotices {
    let nodes = published
        .nodes
        .iter()
        .filter_map(|(node, state)| Some((node.as_str(), of_intent(state)?)));
    let cluster = of_intent(&published.cluster).map(|found| (CLUSTER_INTENT, found));
    nodes
        .chain(cluster)
        .map(|(name, (reason, note))| {
            let regarding = EventTarget::own("NodeIntent", None, name, None);
            let notice = warning(regarding, reason, "Verify", note);
            ((name.to_owned(), reason.to_string()), notice)
        })
        .collect()
}

fn of_intent<D>(state: &IntentState<D>) -> Option<(Reason, String)> {
    Some(match state {
        PublishedState::Lost(_, why) => match why {
            DocumentLoss::Deleted => (
                Reason::Repaired,
                "it was deleted; the same bytes are published again".to_owned(),
            ),
            DocumentLoss::Older => (
                Reason::Replayed,
                "an older document stood there; the newer one is published again".to_owned(),
            ),
            DocumentLoss::Changed(why) => (
                *why,
                format!(
                    "{} The same bytes as before are published again.",
                    why.sentence()
                ),
            ),
        },
        PublishedState::Unreadable(why) => (
            *why,
            format!(
                "{} Nobody remembers what stood there; nothing is published for a node that has seen it until a person \
                 approves.",
                why.sentence()
            ),
        ),
        PublishedState::Current(_) | PublishedState::Absent => return None,
    })
}

/// Objects that cannot be read.
pub(super) fn of_problems(problems: &[ReadProblem]) -> NamedNotices {
    let mut notices = NamedNotices::new();
    for problem in problems {
        let (api_version, kind) = match problem.kind {
            WatchedKind::Node
            | WatchedKind::Pod
            | WatchedKind::Namespace
            | WatchedKind::Service
            | WatchedKind::ConfigMap => ("v1", problem.kind.as_str()),
            other => (postern_crds::names::API_VERSION, other.as_str()),
        };
        let regarding = EventTarget {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: problem.namespace.clone(),
            name: problem.name.clone(),
            uid: problem.uid.clone(),
        };
        let key = (
            format!(
                "{kind} {} {}",
                problem.namespace.clone().unwrap_or_default(),
                problem.name
            ),
            problem.what.clone(),
        );
        let note = format!("it counts as refused: {}", problem.what);
        notices.insert(key, warning(regarding, problem.reason, "Read", note));
    }
    notices
}
