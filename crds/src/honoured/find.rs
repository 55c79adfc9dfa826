//! Looks for fields that are set and not honoured.

use serde_json::Value;

use super::table::{FIELDS, Honoured, HonouredField};

/// A kind whose objects can ask for more than this version honours.
pub trait NotImplemented {
    /// The kind, as it stands in the table.
    const KIND: &'static str;

    /// The object's spec as the API server would show it.
    ///
    /// # Errors
    /// When the spec has no JSON form, which no value of these types can cause.
    fn spec_value(&self) -> serde_json::Result<Value>;
}

/// A field of an object that is set and not honoured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath {
    /// Where it stands, such as `spec.rules[0].to[1].fqdn`.
    pub path: String,
    /// The value, where another value of the same field is honoured.
    pub value: Option<String>,
    /// What holds instead, and what to write.
    pub sentence: &'static str,
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {value} ({})", self.path, self.sentence),
            None => write!(f, "{} ({})", self.path, self.sentence),
        }
    }
}

/// The message of `Accepted=False, reason=NotImplemented`.
#[must_use]
pub fn message(fields: &[FieldPath]) -> String {
    let named: Vec<String> = fields.iter().map(ToString::to_string).collect();
    format!("not honoured by this version: {}", named.join("; "))
}

pub(super) fn in_spec(kind: &str, spec: serde_json::Result<Value>) -> Vec<FieldPath> {
    // A spec that cannot be looked at is not known to be honoured, so all of it is named.
    let Ok(spec) = spec else {
        return vec![FieldPath {
            path: "spec".to_owned(),
            value: None,
            sentence: "it cannot be read",
        }];
    };
    let mut found = Vec::new();
    for field in FIELDS.iter().filter(|field| field.kind == kind) {
        let mut steps: Vec<&str> = field.path.split('.').collect();
        steps.remove(0);
        let mut walk = FieldWalk {
            field,
            found: &mut found,
        };
        walk.step(&spec, &steps, "spec".to_owned());
    }
    found
}

struct FieldWalk<'a> {
    field: &'a HonouredField,
    found: &'a mut Vec<FieldPath>,
}

impl FieldWalk<'_> {
    fn step(&mut self, value: &Value, steps: &[&str], path: String) {
        let Some((first, rest)) = steps.split_first() else {
            self.judge(value, path);
            return;
        };
        let (name, is_list) = match first.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (*first, false),
        };
        let Some(inner) = value.get(name).filter(|inner| !inner.is_null()) else {
            return;
        };
        if !is_list {
            self.step(inner, rest, format!("{path}.{name}"));
            return;
        }
        for (index, item) in inner.as_array().into_iter().flatten().enumerate() {
            self.step(item, rest, format!("{path}.{name}[{index}]"));
        }
    }

    fn judge(&mut self, value: &Value, path: String) {
        let value = match self.field.honoured {
            Honoured::Since(_) => return,
            Honoured::Only { values, .. } => {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                if values.contains(&text.as_str()) {
                    return;
                }
                Some(text)
            }
            Honoured::NotYet => None,
        };
        self.found.push(FieldPath {
            path,
            value,
            sentence: self.field.otherwise,
        });
    }
}
