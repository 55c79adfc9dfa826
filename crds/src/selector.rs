//! Label selectors, parsed once into what can be asked.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A label selector that is known to be valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One thing that labels must fulfil.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

/// Why a label selector is not valid. The schema refuses all of these; a file that never met an API server may hold them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The operator is none of the four.
    #[error("operator {operator:?} for label {key:?} is none of In, NotIn, Exists, DoesNotExist")]
    UnknownOperator {
        /// Key of the label.
        key: String,
        operator: String,
    },
    /// `In` and `NotIn` need values.
    #[error("operator {operator} for label {key:?} needs values")]
    NoValues {
        /// Key of the label.
        key: String,
        operator: String,
    },
    /// No object can have a label with such a key.
    #[error("a label's key has 317 characters at most, and this one has {length}")]
    KeyTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// No object can have a label with this key. The schema cannot say so: a pattern on the keys of a map costs more than a
    /// rule may.
    #[error(
        "{key:?} is no key of a label, so no object has it: write NAME or PREFIX/NAME, the name in at most 63 letters, \
         digits, '-', '_' and '.', the prefix as a DNS name"
    )]
    NoKey { key: String },
    /// `Exists` and `DoesNotExist` take no values.
    #[error("operator {operator} for label {key:?} takes no values")]
    UnexpectedValues {
        /// Key of the label.
        key: String,
        operator: String,
    },
}

/// The longest key of a label: a prefix of 253 characters, a slash and a name of 63.
const KEY_LIMIT: usize = 317;

impl Selector {
    /// Parses a label selector. An empty one matches everything, as everywhere in Kubernetes.
    ///
    /// # Errors
    /// [`SelectorError`] when an expression is not valid; it must then match nothing that loosens.
    pub fn parse(raw: &LabelSelector) -> Result<Self, SelectorError> {
        let labels = raw.match_labels.iter().flatten().map(|(key, _)| key);
        let expressions = raw.match_expressions.iter().flatten();
        let mut keys = labels.chain(expressions.map(|expression| &expression.key));
        if let Some(key) = keys.clone().find(|key| key.len() > KEY_LIMIT) {
            return Err(SelectorError::KeyTooLong { length: key.len() });
        }
        if let Some(key) = keys.find(|key| !is_label_key(key)) {
            return Err(SelectorError::NoKey {
                key: key.to_owned(),
            });
        }
        let mut requirements: Vec<Requirement> = raw
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
            .collect();
        for expression in raw.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(requirement(&expression.key, &expression.operator, values)?);
        }
        Ok(Self { requirements })
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|one| one.holds(labels))
    }

    /// Whether everything is selected.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

/// Whether an object can have a label with this key (`IsQualifiedName` of apimachinery).
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let part = |part: &str, limit: usize, inner: &[u8], of: fn(&u8) -> bool| {
        let bytes = part.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        bytes.len() <= limit
            && ends.iter().all(|end| end.is_some_and(of))
            && bytes.iter().all(|byte| of(byte) || inner.contains(byte))
    };
    let label = |label| {
        part(label, 253, b"-", |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit()
        })
    };
    part(name, 63, b"-_.", u8::is_ascii_alphanumeric)
        && prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(label))
}

fn requirement(
    key: &str,
    operator: &str,
    values: Vec<String>,
) -> Result<Requirement, SelectorError> {
    let key = key.to_owned();
    match (operator, values.is_empty()) {
        ("In", false) => Ok(Requirement::In(key, values)),
        ("NotIn", false) => Ok(Requirement::NotIn(key, values)),
        ("Exists", true) => Ok(Requirement::Exists(key)),
        ("DoesNotExist", true) => Ok(Requirement::DoesNotExist(key)),
        ("In" | "NotIn", true) => Err(SelectorError::NoValues {
            key,
            operator: operator.to_owned(),
        }),
        ("Exists" | "DoesNotExist", false) => Err(SelectorError::UnexpectedValues {
            key,
            operator: operator.to_owned(),
        }),
        _ => Err(SelectorError::UnknownOperator {
            key,
            operator: operator.to_owned(),
        }),
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            // A missing label is not one of the values (labels.Requirement.Matches in apimachinery).
            Self::NotIn(key, values) => {
                !labels.get(key).is_some_and(|value| values.contains(value))
            }
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}
