//! Fields that nobody knows. An API server refuses or drops them; here a misspelled one would be passed over, and what
//! its author asked for with it.

use std::sync::OnceLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::definition::{self, Definition};
use serde_json::Value;

use super::error::FilesError;

/// What every object may have beside its kind's own fields.
const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// What is known of the kinds that are read.
pub(super) struct Fields {
    definitions: &'static [Definition],
}

/// They are the same for every run of a program that runs often.
static DEFINITIONS: OnceLock<Vec<Definition>> = OnceLock::new();

impl Fields {
    /// Gathers it.
    ///
    /// # Errors
    /// [`FilesError::Definitions`].
    pub(super) fn new() -> Result<Self, FilesError> {
        let definitions = match DEFINITIONS.get() {
            Some(definitions) => definitions,
            None => {
                let fresh = definition::all().map_err(FilesError::Definitions)?;
                DEFINITIONS.get_or_init(|| fresh)
            }
        };
        Ok(Self { definitions })
    }

    /// The path of the first field that nobody knows. Whatever stands in `status` is somebody's answer and not asked
    /// for; a newer Kubernetes may have more in the `spec` of its own kinds, and what is read of it is optional and
    /// without it a pod or node only gets less.
    pub(super) fn unknown(&self, kind: &str, object: &Value) -> Option<String> {
        let fields = object.as_object()?;
        let top = fields.keys().find(|name| !TOP.contains(&name.as_str()));
        top.cloned()
            .or_else(|| of_metadata(object.get("metadata")?))
            .or_else(|| {
                let own = self.definitions.iter().find(|one| one.kind == kind)?;
                let schema = &own.schema()["properties"]["spec"];
                of_schema(schema, object.get("spec")?, "spec")
            })
    }
}

/// Metadata is the same for every kind: what is not there any more after reading it was not understood.
fn of_metadata(written: &Value) -> Option<String> {
    let read: ObjectMeta = serde_json::from_value(written.clone()).ok()?;
    missing(written, &serde_json::to_value(read).ok()?, "metadata")
}

fn missing(written: &Value, read: &Value, at: &str) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            let mut set = written.iter().filter(|(_, value)| !value.is_null());
            set.find_map(|(name, value)| {
                let at = format!("{at}.{name}");
                match read.get(name) {
                    Some(read) => missing(value, read, &at),
                    None => Some(at),
                }
            })
        }
        (Value::Array(written), Value::Array(read)) => {
            let mut items = written.iter().zip(read).enumerate();
            items.find_map(|(place, (written, read))| {
                missing(written, read, &format!("{at}[{place}]"))
            })
        }
        _ => None,
    }
}

fn of_schema(schema: &Value, written: &Value, at: &str) -> Option<String> {
    if let Some(items) = written.as_array() {
        let mut items = items.iter().enumerate();
        return items.find_map(|(place, item)| {
            of_schema(&schema["items"], item, &format!("{at}[{place}]"))
        });
    }
    // A map with names of the user's choice, such as labels, has no list of properties.
    let (fields, known) = (written.as_object()?, schema["properties"].as_object()?);
    fields.iter().find_map(|(name, value)| {
        let at = format!("{at}.{name}");
        match known.get(name) {
            Some(schema) => of_schema(schema, value, &at),
            None => Some(at),
        }
    })
}
