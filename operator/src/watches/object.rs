//! One object that cannot be read does not stop the watch of the others.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use postern_crds::conditions::Reason;
use postern_crds::honoured::unknown_field;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object, or what is left of one that cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchedObject<K> {
    /// It can be read.
    Good(K),
    Poison(Box<InvalidObject>),
}

/// An object that cannot be read as its kind, or that says more than this version understands.
#[derive(Debug, Clone, PartialEq)]
pub struct InvalidObject {
    /// Its metadata, as far as that can be read.
    pub metadata: ObjectMeta,
    /// Everything, for those who look for one field.
    pub raw: Value,
    /// Why it is refused.
    pub reason: Reason,
    pub problem: String,
}

impl<K> WatchedObject<K> {
    /// The object, if it can be read.
    pub const fn good(&self) -> Option<&K> {
        match self {
            Self::Good(object) => Some(object),
            Self::Poison(_) => None,
        }
    }

    /// What is left, if it cannot.
    pub const fn poison(&self) -> Option<&InvalidObject> {
        match self {
            Self::Good(_) => None,
            Self::Poison(poison) => Some(poison),
        }
    }

    /// Changes it, if it can be read.
    pub(super) fn modify(&mut self, change: impl FnOnce(&mut K)) {
        if let Self::Good(object) = self {
            change(object);
        }
    }
}

impl<'de, K> Deserialize<'de> for WatchedObject<K>
where
    K: DeserializeOwned + Resource<DynamicType = ()>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(deserializer)?;
        // A field that the type does not have would be passed over, and what is restricted by it would be let out.
        let unknown = unknown_field(&K::kind(&()), &raw).map_err(serde::de::Error::custom)?;
        let (reason, problem) = match (K::deserialize(&raw), unknown) {
            (Ok(object), None) => return Ok(Self::Good(object)),
            (_, Some(field)) => (Reason::UnknownField, unknown_sentence(&field)),
            (Err(error), None) => (
                Reason::Invalid,
                format!("the object cannot be read: {error}"),
            ),
        };
        Ok(Self::Poison(Box::new(InvalidObject {
            metadata: metadata_of(&raw),
            raw,
            reason,
            problem,
        })))
    }
}

fn unknown_sentence(field: &str) -> String {
    format!(
        "this version of the operator does not know {field}; upgrade the operator to the version of the definitions, or \
         leave the field out"
    )
}

/// The metadata; where that is what cannot be read, the strings by which an object is found.
fn metadata_of(raw: &Value) -> ObjectMeta {
    let written = raw.get("metadata").unwrap_or(&Value::Null);
    let text = |field: &str| {
        written
            .get(field)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    ObjectMeta::deserialize(written).unwrap_or_else(|_| ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    })
}

impl<K: Resource> Resource for WatchedObject<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Good(object) => object.meta(),
            Self::Poison(poison) => &poison.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Good(object) => object.meta_mut(),
            Self::Poison(poison) => &mut poison.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::Resource as _;
    use postern_crds::conditions::Reason;
    use postern_crds::{EgressPolicy, NodeReport};
    use serde_json::json;

    use super::WatchedObject;

    #[test]
    fn an_object_that_cannot_be_read_keeps_its_name_and_its_fields() {
        let raw = json!({
            "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "labels": ["no", "map"]},
            "spec": {"containers": "no list"},
        });
        let read: WatchedObject<Pod> =
            serde_json::from_value(raw.clone()).expect("anything is taken");
        assert!(read.good().is_none());
        let poison = read.poison().expect("what is left");
        assert_eq!(poison.raw, raw);
        assert_eq!(read.meta().name.as_deref(), Some("a"));
        assert_eq!(read.meta().resource_version.as_deref(), Some("7"));
        assert!(!poison.problem.is_empty());
    }

    #[test]
    fn a_policy_with_a_field_of_a_newer_definition_is_refused_by_the_name_of_the_field() {
        let mut raw = json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {
                "podSelector": {}, "route": {"type": "Exit", "exitNodes": [{"name": "eu"}]},
                "defaultAction": "Allow",
                "rules": [{"action": "Allow", "to": [{"cidr": "198.51.100.0/24"}], "schedule": "night"}],
            },
        });
        let read: WatchedObject<EgressPolicy> = serde_json::from_value(raw.clone()).expect("taken");
        let poison = read.poison().expect("a field of its own");
        assert_eq!(poison.reason, Reason::UnknownField);
        assert!(poison.problem.contains("spec.rules[0].schedule"));

        raw["spec"]["rules"][0]
            .as_object_mut()
            .expect("a rule")
            .remove("schedule");
        let read: WatchedObject<EgressPolicy> = serde_json::from_value(raw).expect("taken");
        assert!(read.good().is_some());
    }

    #[test]
    fn a_report_of_a_newer_agent_is_read_as_far_as_it_is_known() {
        let raw = json!({"metadata": {"name": "n1"}, "spec": {"nodeUID": "u", "more": 1}});
        let read: WatchedObject<NodeReport> = serde_json::from_value(raw).expect("taken");
        assert!(read.good().is_some());
    }

    #[test]
    fn an_object_that_can_be_read_is_itself() {
        let raw = json!({"metadata": {"name": "a"}, "spec": {"containers": []}});
        let read: WatchedObject<Pod> = serde_json::from_value(raw.clone()).expect("a pod");
        assert_eq!(
            read.good(),
            Some(&serde_json::from_value(raw).expect("a pod"))
        );
    }
}
