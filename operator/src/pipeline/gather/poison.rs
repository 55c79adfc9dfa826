//! What an object means that cannot be read. Selection does not depend on acceptance: whom a policy selects is
//! blocked, also when nothing else of it is understood; and nobody can say whom a broken selector means, so it is
//! taken to mean everybody of its namespace. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_compile::intake::exit_of;
use postern_compile::snapshot::{
    Labels, Lifecycle, ParsedSelector, PolicyKey, SnapshotClusterPolicy, SnapshotExit,
    SnapshotIsolation, SnapshotNamespace, SnapshotPolicy, SpecRefusal,
};
use postern_crds::cluster_egress_policy::Tier;
use postern_crds::names::{EGRESS_DEFAULT_LABEL, EGRESS_DENY};
use serde_json::Value;

use crate::watches::InvalidObject;

fn refusal(poison: &InvalidObject) -> SpecRefusal {
    SpecRefusal {
        reason: poison.reason,
        message: poison.problem.clone(),
    }
}

fn generation(poison: &InvalidObject) -> i64 {
    poison.metadata.generation.unwrap_or_default()
}

pub(super) fn policy(poison: &InvalidObject) -> Option<SnapshotPolicy> {
    let spec = poison.raw.get("spec").unwrap_or(&Value::Null);
    let selector = spec
        .get("podSelector")
        .cloned()
        .and_then(|written| serde_json::from_value::<LabelSelector>(written).ok())
        .and_then(|written| ParsedSelector::try_from(written).ok())
        .unwrap_or_else(ParsedSelector::everything);
    // A priority that cannot be read could be any: the highest lets no other policy decide about these pods.
    let priority = match spec.get("priority") {
        None => 0,
        Some(written) => written
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .unwrap_or(i32::MAX),
    };
    Some(SnapshotPolicy {
        key: PolicyKey {
            namespace: poison.metadata.namespace.as_deref()?.parse().ok()?,
            name: poison.metadata.name.clone()?,
        },
        uid: poison.metadata.uid.as_deref()?.parse().ok()?,
        generation: generation(poison),
        selector,
        priority,
        terms: Err(refusal(poison)),
    })
}

pub(super) fn exit(poison: &InvalidObject) -> Option<SnapshotExit> {
    let name = poison.metadata.name.as_deref()?.parse().ok()?;
    Some(exit_of(name, &poison.metadata, Err(refusal(poison))))
}

/// One that cannot be read is asked first: no other policy of the tier allows what it may deny.
pub(super) fn cluster_policy(poison: &InvalidObject) -> Option<SnapshotClusterPolicy> {
    let spec = poison.raw.get("spec").unwrap_or(&Value::Null);
    let namespaces = spec
        .pointer("/subject/namespaces")
        .cloned()
        .and_then(|written| serde_json::from_value::<LabelSelector>(written).ok())
        .and_then(|written| ParsedSelector::try_from(written).ok())
        .unwrap_or_else(ParsedSelector::everything);
    let priority = spec.get("priority").and_then(Value::as_i64);
    let tier = spec.get("tier").cloned();
    Some(SnapshotClusterPolicy {
        name: poison.metadata.name.clone()?,
        generation: generation(poison),
        tier: tier
            .and_then(|written| serde_json::from_value(written).ok())
            .unwrap_or(Tier::Admin),
        priority: priority
            .and_then(|number| i32::try_from(number).ok())
            .unwrap_or(i32::MIN),
        namespaces,
        rules: Err(refusal(poison)),
    })
}

pub(super) fn isolation(poison: &InvalidObject) -> Option<SnapshotIsolation> {
    Some(SnapshotIsolation {
        name: poison.metadata.name.clone()?,
        generation: generation(poison),
        created: poison
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
        selector: None,
        terms: Err(refusal(poison)),
    })
}

pub(super) fn namespace(poison: &InvalidObject) -> Option<SnapshotNamespace> {
    let deny: Labels = [(EGRESS_DEFAULT_LABEL.to_owned(), EGRESS_DENY.to_owned())].into();
    Some(SnapshotNamespace {
        name: poison.metadata.name.as_deref()?.parse().ok()?,
        labels: deny,
        lifecycle: match poison.metadata.deletion_timestamp {
            Some(_) => Lifecycle::Deleting,
            None => Lifecycle::Live,
        },
    })
}

/// A pod that cannot be read is not listed, and an agent holds what is not listed.
pub(super) const fn nothing<T>(_: &InvalidObject) -> Option<T> {
    None
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::{Value, json};

    use super::{Tier, cluster_policy, namespace, policy};
    use crate::watches::InvalidObject;

    fn poison(spec: &Value) -> InvalidObject {
        InvalidObject {
            metadata: ObjectMeta {
                name: Some("p".to_owned()),
                namespace: Some("shop".to_owned()),
                uid: Some("u1".to_owned()),
                generation: Some(3),
                ..ObjectMeta::default()
            },
            raw: json!({ "spec": spec }),
            reason: postern_crds::conditions::Reason::Invalid,
            problem: "no".to_owned(),
        }
    }

    fn labels(value: &str) -> postern_compile::snapshot::Labels {
        [("app".to_owned(), value.to_owned())].into()
    }

    #[test]
    fn whom_a_policy_selects_is_known_although_nothing_else_is() {
        let written =
            json!({"podSelector": {"matchLabels": {"app": "a"}}, "priority": 7, "route": 9});
        let found = policy(&poison(&written)).expect("a policy");
        assert!(found.terms.is_err());
        assert_eq!((found.generation, found.priority), (3, 7));
        assert!(found.selector.matches(&labels("a")) && !found.selector.matches(&labels("b")));
    }

    #[test]
    fn a_selector_that_cannot_be_read_means_everybody() {
        for written in [
            json!({}),
            json!({"podSelector": 4}),
            json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}}),
        ] {
            let found = policy(&poison(&written)).expect("a policy");
            assert!(found.selector.matches(&labels("anything")));
        }
    }

    #[test]
    fn a_priority_that_cannot_be_read_is_the_highest() {
        let found = policy(&poison(&json!({"priority": "much"}))).expect("a policy");
        assert_eq!(found.priority, i32::MAX);
    }

    #[test]
    fn a_policy_of_administrators_that_cannot_be_read_is_asked_first_for_its_subject_or_everybody()
    {
        let written = json!({"tier": "Admin", "priority": 7, "subject": {"namespaces": {"matchLabels": {"app": "a"}}}});
        let found = cluster_policy(&poison(&written)).expect("a policy");
        assert_eq!((found.priority, found.rules.is_err()), (7, true));
        assert!(found.namespaces.matches(&labels("a")) && !found.namespaces.matches(&labels("b")));
        let found = cluster_policy(&poison(&json!({"tier": 4}))).expect("a policy");
        assert_eq!((found.tier, found.priority), (Tier::Admin, i32::MIN));
        assert!(found.namespaces.matches(&labels("b")));
    }

    #[test]
    fn a_namespace_that_cannot_be_read_denies() {
        assert!(
            namespace(&poison(&json!({})))
                .expect("a namespace")
                .denies()
        );
    }
}
