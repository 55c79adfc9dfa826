//! Schemas of the types that Kubernetes defines: conditions, selectors, times.
//!
//! The types are those of `k8s-openapi`; only their schemas are ours, because the published ones
//! have no bounds and no list keys.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Form of a label's key: an optional DNS prefix and a name.
const LABEL_KEY: &str =
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// Form of a label's value, which may be empty.
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// `metav1.Condition` list, keyed by type, so that two writers never overwrite each other's entry.
#[must_use]
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "message": {"type": "string", "maxLength": 4096}
            }
        }
    })
}

/// `status.observedGeneration` of an object that no operator has looked at. Flux has the same value.
pub const NOT_LOOKED_AT: i64 = -1;

/// A `metadata.generation` that was looked at, or [`NOT_LOOKED_AT`].
#[must_use]
pub fn observed_generation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": NOT_LOOKED_AT})
}

/// Gives a status its default. Without one, an object has no status until an operator has looked at it, and kstatus calls
/// an object without `observedGeneration` and conditions `Current`.
pub fn nobody_has_looked(schema: &mut Schema) {
    schema.insert(
        "default".to_owned(),
        serde_json::json!({"observedGeneration": NOT_LOOKED_AT}),
    );
}

/// `metav1.LabelSelector` with bounds: 16 labels, 16 expressions of 32 values.
#[must_use]
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        // A schema bounds a map's values and not its keys, and a pattern on a key of unbounded length would cost more than
        // a rule may. 317 is a prefix of 253 characters, the slash and a name of 63.
        "x-kubernetes-validations": [{
            "rule": "!has(self.matchLabels) || self.matchLabels.all(key, size(key) <= 317)",
            "message": "a label's key has 317 characters at most"
        }],
        "properties": {
            "matchLabels": {
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}
            },
            "matchExpressions": {
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "minLength": 1, "maxLength": 317, "pattern": LABEL_KEY},
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                        "values": {
                            "type": "array",
                            "maxItems": 32,
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}
                        }
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                        "message": "In and NotIn need values, Exists and DoesNotExist take none"
                    }]
                }
            }
        }
    })
}

/// A time in RFC 3339.
#[must_use]
pub fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}
