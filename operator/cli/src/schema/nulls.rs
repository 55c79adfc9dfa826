//! Nulls, which an API server drops before it fills in defaults and judges, as in `relay:` with nothing behind it
//! (Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions", Defaulting and Nullable).

use serde_json::Value;

/// Drops the fields that are null where the schema knows the field and does not allow a null. An item of a list is none.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Array(items) => {
            for item in items {
                drop_nulls(&schema["items"], item);
            }
        }
        Value::Object(map) => {
            map.retain(|name, inner| !(inner.is_null() && drops(field(schema, name))));
            for (name, inner) in map {
                drop_nulls(field(schema, name), inner);
            }
        }
        _ => {}
    }
}

fn field<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let own = &schema["properties"][name];
    match own.is_object() {
        true => own,
        false => &schema["additionalProperties"],
    }
}

fn drops(schema: &Value) -> bool {
    schema.is_object() && schema["nullable"] != Value::Bool(true)
}
