use std::fmt;

use postern_compile::verdict::Verdict;

/// An object by kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    pub kind: &'static str,
    /// Its namespace; none: its kind is in no namespace.
    pub namespace: Option<String>,
    pub name: String,
}

impl ObjectKey {
    /// An object of a kind that is in no namespace.
    #[must_use]
    pub fn cluster(kind: &'static str, name: &str) -> Self {
        Self {
            kind,
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// The object of a verdict.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            kind: verdict.kind,
            namespace: verdict.namespace.clone(),
            name: verdict.name.clone(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}
