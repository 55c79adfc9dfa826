//! Fields that nobody knows. An API server refuses or drops them; here a misspelled one would be passed over, and what
//! its author asked for with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::honoured::unknown_field;
use serde_json::Value;

use super::error::FilesError;

/// What every object may have beside its kind's own fields.
const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// What a Secret has instead of `spec` and `status`.
const OF_SECRET: [&str; 4] = ["data", "stringData", "type", "immutable"];

/// The path of the first field that nobody knows. The content of `status` is an answer and no input. A newer Kubernetes may
/// have more in the `spec` of its own kinds; what is read of it is optional, and without it a pod or node only gets less.
///
/// # Errors
/// [`FilesError::Definitions`].
pub(super) fn unknown(kind: &str, object: &Value) -> Result<Option<String>, FilesError> {
    let own = unknown_field(kind, object).map_err(FilesError::Definitions)?;
    let fields = object.as_object().into_iter().flat_map(|map| map.keys());
    let is_known =
        |name: &str| TOP.contains(&name) || kind == "Secret" && OF_SECRET.contains(&name);
    let mut top = fields.filter(|name| !is_known(name));
    let metadata = || of_metadata(object.get("metadata")?);
    Ok(top.next().cloned().or_else(metadata).or(own))
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
