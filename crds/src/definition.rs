//! The CustomResourceDefinitions as they are published.
//!
//! What the derive makes is right for Rust and says more than an API server wants: `nullable` on every
//! optional field (then `has(self.x)` holds for a null), integer formats that it does not know and warns
//! about, and whole numbers written as fractions. One function tidies this, and everything that is
//! published, tested or documented comes from it.

use kube::CustomResourceExt;
use serde_json::{Map, Number, Value};

use crate::{
    ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation, NodeIntent, NodeReport,
};

#[derive(Clone, Debug, PartialEq)]
pub struct ResourceDefinition {
    /// Kind of its objects.
    pub kind: &'static str,
    /// Plural, which with the group is its name.
    pub plural: &'static str,
    pub object: Value,
}

impl ResourceDefinition {
    /// Name of the file that carries it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}.yaml", crate::names::GROUP, self.plural)
    }

    /// Schema of its objects.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    }

    /// Printer columns of its one version.
    #[must_use]
    pub fn columns(&self) -> &[Value] {
        self.object["spec"]["versions"][0]["additionalPrinterColumns"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }
}

/// Every definition, users' kinds first.
///
/// # Errors
/// When a derived definition has no JSON form, which no input can cause.
pub fn all() -> Result<Vec<ResourceDefinition>, serde_json::Error> {
    Ok(vec![
        one::<ExitNode>("ExitNode", "exitnodes")?,
        one::<EgressPolicy>("EgressPolicy", "egresspolicies")?,
        one::<ClusterEgressPolicy>("ClusterEgressPolicy", "clusteregresspolicies")?,
        one::<InterfaceIsolation>("InterfaceIsolation", "interfaceisolations")?,
        one::<NodeIntent>("NodeIntent", "nodeintents")?,
        one::<NodeReport>("NodeReport", "nodereports")?,
    ])
}

fn one<K: CustomResourceExt>(
    kind: &'static str,
    plural: &'static str,
) -> Result<ResourceDefinition, serde_json::Error> {
    let mut object = serde_json::to_value(K::crd())?;
    tidy(&mut object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    // Another crate of a build may switch serde_json to insertion order; what is committed must not depend on it.
    object.sort_all_objects();
    Ok(ResourceDefinition {
        kind,
        plural,
        object,
    })
}

fn tidy(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    map.remove("nullable");
    tidy_format(map);
    tidy_numbers(map);
    tidy_description(map);
    if map.contains_key("x-kubernetes-int-or-string") {
        // The derive leaves two empty schemas here, which the API server refuses; the extension alone says it.
        map.remove("anyOf");
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(name) {
            tidy(inner);
        }
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
}

fn tidy_format(map: &mut Map<String, Value>) {
    // "unrecognized format" is what the API server warns about for these; the bounds say the same.
    let unknown = map
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint"));
    if unknown {
        map.remove("format");
    }
}

fn tidy_numbers(map: &mut Map<String, Value>) {
    for name in ["minimum", "maximum"] {
        let whole = map.get(name).and_then(Value::as_f64).and_then(whole_number);
        if let Some(number) = whole {
            map.insert(name.to_owned(), Value::Number(number));
        }
    }
    if map.get("minItems").and_then(Value::as_u64) == Some(0) {
        map.remove("minItems");
    }
}

/// The same number without a fraction, where it has none and is exact in a double (below 2^53).
fn whole_number(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = value.fract() == 0.0 && value.abs() < EXACT;
    whole
        .then(|| format!("{value:.0}").parse::<i64>().ok())
        .flatten()
        .map(Number::from)
}

fn tidy_description(map: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
