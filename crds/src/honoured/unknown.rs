//! Fields that nobody knows. A schema drops or refuses them where it is the schema of these types; where a newer one is
//! installed, or none, what its author asked for with such a field would be passed over.

use std::sync::OnceLock;

use serde_json::Value;

use super::table::FIELDS;
use crate::definition::{self, ResourceDefinition};

/// The schemas are the same for every object of a program that reads many.
static DEFINITIONS: OnceLock<Vec<ResourceDefinition>> = OnceLock::new();

/// The path of the first field of an object's spec that the kind does not have in this version, such as
/// `spec.rules[1].via`. Always none for a kind that users do not write: programs of several versions exchange those, and
/// each reads the part that it knows.
///
/// # Errors
/// When a derived definition has no JSON form, which no input can cause.
pub fn unknown_field(kind: &str, object: &Value) -> Result<Option<String>, serde_json::Error> {
    if FIELDS.iter().all(|field| field.kind != kind) {
        return Ok(None);
    }
    let definitions = match DEFINITIONS.get() {
        Some(definitions) => definitions,
        None => {
            let fresh = definition::all()?;
            DEFINITIONS.get_or_init(|| fresh)
        }
    };
    let Some(definition) = definitions.iter().find(|one| one.kind == kind) else {
        return Ok(None);
    };
    let schema = &definition.schema()["properties"]["spec"];
    let spec = object.get("spec");
    Ok(spec.and_then(|spec| outside(schema, spec, "spec")))
}

fn outside(schema: &Value, written: &Value, at: &str) -> Option<String> {
    if let Some(items) = written.as_array() {
        let mut items = items.iter().enumerate();
        return items
            .find_map(|(place, item)| outside(&schema["items"], item, &format!("{at}[{place}]")));
    }
    // A map with names of the user's choice, such as labels, has no list of properties.
    let (fields, known) = (written.as_object()?, schema["properties"].as_object()?);
    fields.iter().find_map(|(name, value)| {
        let at = format!("{at}.{name}");
        match known.get(name) {
            Some(schema) => outside(schema, value, &at),
            None => Some(at),
        }
    })
}
