//! Objects that cannot even be named.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::selector::SelectorError;
use postern_intent::newtypes::NewtypeError;
use thiserror::Error;

/// Why an object cannot be taken in at all. An API server gives no such object.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// A field that every object has is missing.
    #[error("{kind} {name:?} has no {field}")]
    Missing {
        kind: &'static str,
        /// Its name, as far as it has one.
        name: String,
        field: &'static str,
    },
    /// A name, UID, address or prefix breaks its rule.
    #[error("{kind} {name:?} has a value that breaks its rule")]
    Word {
        kind: &'static str,
        name: String,
        #[source]
        source: NewtypeError,
    },
    /// A Node has the name of the NodeIntent that carries the cluster document.
    #[error(
        "Node {name:?} has the name of the object that all nodes read, so it gets no intent and none of its pods is \
         guarded; join it under another name"
    )]
    ReservedName { name: String },
    /// A selector of an object that is not judged later.
    #[error("{kind} {name:?} has a selector that is not valid")]
    Selector {
        kind: &'static str,
        name: String,
        #[source]
        source: SelectorError,
    },
}

/// Reads the metadata of one object.
pub(super) struct Reader<'a> {
    kind: &'static str,
    metadata: &'a ObjectMeta,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(kind: &'static str, metadata: &'a ObjectMeta) -> Self {
        Self { kind, metadata }
    }

    fn shown(&self) -> String {
        self.metadata.name.clone().unwrap_or_default()
    }

    pub(super) fn missing(&self, field: &'static str) -> IntakeError {
        IntakeError::Missing {
            kind: self.kind,
            name: self.shown(),
            field,
        }
    }

    pub(super) fn parse<T>(&self, text: &str) -> Result<T, IntakeError>
    where
        T: std::str::FromStr<Err = NewtypeError>,
    {
        text.parse().map_err(|source| IntakeError::Word {
            kind: self.kind,
            name: self.shown(),
            source,
        })
    }

    fn field<T>(&self, value: Option<&String>, field: &'static str) -> Result<T, IntakeError>
    where
        T: std::str::FromStr<Err = NewtypeError>,
    {
        self.parse(value.ok_or_else(|| self.missing(field))?)
    }

    pub(super) fn name<T>(&self) -> Result<T, IntakeError>
    where
        T: std::str::FromStr<Err = NewtypeError>,
    {
        self.field(self.metadata.name.as_ref(), "metadata.name")
    }

    pub(super) fn namespace(&self) -> Result<postern_intent::Namespace, IntakeError> {
        self.field(self.metadata.namespace.as_ref(), "metadata.namespace")
    }

    pub(super) fn uid(&self) -> Result<postern_intent::Uid, IntakeError> {
        self.field(self.metadata.uid.as_ref(), "metadata.uid")
    }

    pub(super) fn labels(&self) -> crate::snapshot::Labels {
        self.metadata.labels.clone().unwrap_or_default()
    }

    pub(super) fn lifecycle(&self) -> crate::snapshot::Lifecycle {
        match self.metadata.deletion_timestamp {
            Some(_) => crate::snapshot::Lifecycle::Deleting,
            None => crate::snapshot::Lifecycle::Live,
        }
    }
}
