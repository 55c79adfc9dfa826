//! The definitions as they are committed, their rules and bounds, and definitions that lack some of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::admission::cluster::Cluster;

/// Kinds that users write.
pub(crate) const USERS_KINDS: [&str; 4] = [
    "ClusterEgressPolicy",
    "EgressPolicy",
    "ExitNode",
    "InterfaceIsolation",
];

/// A CEL rule with its place.
pub(crate) struct Rule {
    /// As in `spec.rules[].to[]`.
    pub(crate) at: String,
    pub(crate) message: String,
    /// JSON pointer of the list in the schema, and the place in it.
    list: String,
    index: usize,
}

/// A definition as an object.
pub(crate) struct Definition(Value);

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";
const RULES: &str = "x-kubernetes-validations";

/// Keywords that bound a value.
pub(crate) const BOUNDS: [&str; 11] = [
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "required",
];

/// The committed definitions by kind.
pub(crate) fn all() -> BTreeMap<String, Definition> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    let files = std::fs::read_dir(folder).unwrap();
    let texts = files.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    texts
        .map(|text| {
            let object: Value = serde_saphyr::from_str(&text).unwrap();
            let kind = object["spec"]["names"]["kind"].as_str().unwrap().to_owned();
            (kind, Definition(object))
        })
        .collect()
}

impl Definition {
    pub(crate) fn schema(&self) -> &Value {
        self.0.pointer(SCHEMA).unwrap()
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut found = Vec::new();
        each(self.schema(), "", "", &mut |at, pointer, schema| {
            let list = schema[RULES].as_array();
            for (index, rule) in list.into_iter().flatten().enumerate() {
                found.push(Rule {
                    at: at.trim_start_matches('.').to_owned(),
                    message: rule["message"].as_str().unwrap().to_owned(),
                    list: format!("{pointer}/{RULES}"),
                    index,
                });
            }
        });
        found
    }

    /// The collection that objects of this kind are created in, in this group.
    pub(crate) fn collection(&self, group: &str) -> String {
        let plural = self.0["spec"]["names"]["plural"].as_str().unwrap();
        let inside = match self.0["spec"]["scope"].as_str().unwrap() {
            "Namespaced" => "namespaces/shop/",
            _ => "",
        };
        format!("/apis/{group}/v1alpha1/{inside}{plural}")
    }

    /// The same kind in another group.
    pub(crate) fn in_group(&self, group: &str) -> Self {
        let mut object = self.0.clone();
        let plural = object["spec"]["names"]["plural"].as_str().unwrap();
        object["metadata"] = json!({"name": format!("{plural}.{group}")});
        object["spec"]["group"] = json!(group);
        // What is short or common belongs to the real ones.
        let names = object["spec"]["names"].as_object_mut().unwrap();
        names.retain(|name, _| !matches!(name.as_str(), "shortNames" | "categories"));
        Self(object)
    }

    pub(crate) fn without_rule(mut self, rule: &Rule) -> Self {
        let list = format!("{SCHEMA}{}", rule.list);
        let rules = self.0.pointer_mut(&list).unwrap().as_array_mut().unwrap();
        rules.remove(rule.index);
        self
    }

    /// A spec with neither rules nor bounds: rules whose cost nothing bounds would be refused.
    pub(crate) fn boundless(mut self) -> Self {
        let schema = self.0.pointer_mut(SCHEMA).unwrap();
        schema.as_object_mut().unwrap().remove(RULES);
        strip(&mut schema["properties"]["spec"]);
        self
    }

    /// Makes it, and waits for nothing.
    pub(crate) fn register(&self, cluster: &Cluster) {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        cluster.create(path, &self.0).unwrap();
    }

    /// Waits until objects of this kind can be made in this group.
    pub(crate) fn await_served(&self, cluster: &Cluster, group: &str) {
        let collection = self.collection(group);
        cluster.eventually(&format!("{collection} is served"), || {
            cluster.serves(&collection)
        });
    }
}

/// Calls `look` with every schema: its place in an object, its place in the definition, and the schema.
pub(crate) fn each(
    schema: &Value,
    at: &str,
    pointer: &str,
    look: &mut dyn FnMut(&str, &str, &Value),
) {
    look(at, pointer, schema);
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let (at, pointer) = (
            format!("{at}.{name}"),
            format!("{pointer}/properties/{name}"),
        );
        each(inner, &at, &pointer, look);
    }
    for (name, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(name).filter(|inner| inner.is_object()) {
            each(
                inner,
                &format!("{at}{mark}"),
                &format!("{pointer}/{name}"),
                look,
            );
        }
    }
}

fn strip(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    map.remove(RULES);
    // Of a set with few possible members no long one can be made.
    map.remove("x-kubernetes-list-type");
    map.retain(|name, _| !BOUNDS.contains(&name.as_str()));
    for name in ["items", "additionalProperties"] {
        map.get_mut(name).into_iter().for_each(strip);
    }
    let properties = map.get_mut("properties").and_then(Value::as_object_mut);
    properties
        .into_iter()
        .flatten()
        .for_each(|(_, inner)| strip(inner));
}
