//! Objects that are right, from which the wrong ones are made by an edit or two.

use std::collections::BTreeMap;

use serde_json::Value;

/// A place as a JSON pointer, and what an edit writes there; null removes.
pub(crate) type Edit = (&'static str, Value);

/// Edits as they stand in a file of cases.
pub(crate) type Edits = BTreeMap<String, Value>;

/// Right objects that use what the kinds offer.
pub(crate) fn good() -> Vec<Value> {
    serde_saphyr::from_multiple(include_str!("cases/good.yaml")).unwrap()
}

/// Kind of an object.
pub(crate) fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap()
}

/// The smallest right object of a kind.
pub(crate) fn smallest(wanted: &str) -> Value {
    let mut all = good().into_iter();
    all.find(|object| kind(object) == wanted).unwrap()
}

/// The smallest right object of a kind, edited.
pub(crate) fn edited(kind: &str, edits: &[Edit]) -> Value {
    let mut object = smallest(kind);
    for (pointer, value) in edits {
        write(&mut object, pointer, value);
    }
    object
}

/// The same for edits of a file.
pub(crate) fn edited_by(kind: &str, edits: &Edits) -> Value {
    let mut object = smallest(kind);
    for (pointer, value) in edits {
        write(&mut object, pointer, value);
    }
    object
}

fn write(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
        Value::Object(map) if value.is_null() => {
            map.remove(last).unwrap();
        }
        place => place[last] = value.clone(),
    }
}
