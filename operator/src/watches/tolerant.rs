//! One object that cannot be read does not stop the watch of the others.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object, or what is left of one that cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Tolerant<K> {
    /// It can be read.
    Good(K),
    Poison(Box<Poison>),
}

/// An object that cannot be read as its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Poison {
    /// Its metadata, as far as that can be read.
    pub metadata: ObjectMeta,
    /// Everything, for those who look for one field.
    pub raw: Value,
    pub problem: String,
}

impl<K> Tolerant<K> {
    /// The object, if it can be read.
    pub const fn good(&self) -> Option<&K> {
        match self {
            Self::Good(object) => Some(object),
            Self::Poison(_) => None,
        }
    }

    /// What is left, if it cannot.
    pub const fn poison(&self) -> Option<&Poison> {
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

impl<'de, K: DeserializeOwned> Deserialize<'de> for Tolerant<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(deserializer)?;
        Ok(match K::deserialize(&raw) {
            Ok(object) => Self::Good(object),
            Err(error) => Self::Poison(Box::new(Poison {
                metadata: metadata_of(&raw),
                problem: error.to_string(),
                raw,
            })),
        })
    }
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

impl<K: Resource> Resource for Tolerant<K> {
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
    use serde_json::json;

    use super::Tolerant;

    #[test]
    fn an_object_that_cannot_be_read_keeps_its_name_and_its_fields() {
        let raw = json!({
            "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "labels": ["no", "map"]},
            "spec": {"containers": "no list"},
        });
        let read: Tolerant<Pod> = serde_json::from_value(raw.clone()).expect("anything is taken");
        assert!(read.good().is_none());
        let poison = read.poison().expect("what is left");
        assert_eq!(poison.raw, raw);
        assert_eq!(read.meta().name.as_deref(), Some("a"));
        assert_eq!(read.meta().resource_version.as_deref(), Some("7"));
        assert!(!poison.problem.is_empty());
    }

    #[test]
    fn an_object_that_can_be_read_is_itself() {
        let raw = json!({"metadata": {"name": "a"}, "spec": {"containers": []}});
        let read: Tolerant<Pod> = serde_json::from_value(raw.clone()).expect("a pod");
        assert_eq!(
            read.good(),
            Some(&serde_json::from_value(raw).expect("a pod"))
        );
    }
}
