//! One object, judged by the definition of its kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use postern_crds::definition;
use postern_crds::names::{API_VERSION, GROUP};
use serde_json::Value;
use thiserror::Error;

use super::nulls::drop_nulls;
use super::patterns::Patterns;
use super::structure::problems;

/// Why an object is refused, or cannot be judged.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The definition of its kind refuses it.
    #[error(transparent)]
    Refused(SchemaRefusal),
    /// Our own definitions have no JSON form.
    #[error("the definitions cannot be listed")]
    Definitions(#[source] serde_json::Error),
}

/// An object that the definition of its kind refuses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} {name:?} is invalid: {problems}")]
pub struct SchemaRefusal {
    pub kind: String,
    pub name: String,
    /// What is wrong with it, and what to write instead.
    pub problems: SchemaProblems,
}

/// Everything that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaProblems(pub Vec<String>);

impl fmt::Display for SchemaProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// What objects of a kind are judged by.
struct KindSchema {
    schema: Value,
    patterns: Patterns,
    rules: CompiledSchema,
}

/// Made once: compiling the rules of a kind takes longer than judging an object by them.
static KINDS: OnceLock<BTreeMap<&'static str, KindSchema>> = OnceLock::new();

fn kinds() -> Result<&'static BTreeMap<&'static str, KindSchema>, SchemaError> {
    if let Some(kinds) = KINDS.get() {
        return Ok(kinds);
    }
    let definitions = definition::all().map_err(SchemaError::Definitions)?;
    let kinds = definitions.into_iter().map(|definition| {
        let schema = definition.schema().clone();
        let kind = KindSchema {
            patterns: Patterns::of(&schema),
            rules: compile_schema(&schema),
            schema,
        };
        (definition.kind, kind)
    });
    let kinds = kinds.collect();
    Ok(KINDS.get_or_init(|| kinds))
}

/// What an object is judged by; none: it is of no kind and version of ours.
fn kind_of(object: &Value) -> Result<Option<&'static KindSchema>, SchemaError> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let is_ours = object["apiVersion"] == API_VERSION;
    Ok(kinds()?.get(kind).filter(|_| is_ours))
}

/// Drops the nulls that an API server drops. An object of no kind of ours stays as it is.
///
/// # Errors
/// [`SchemaError::Definitions`].
pub fn prune(object: &mut Value) -> Result<(), SchemaError> {
    if let Some(judged) = kind_of(object)? {
        drop_nulls(&judged.schema, object);
    }
    Ok(())
}

/// Judges an object as it is after [`prune`]. One of another group is not judged; its status is the operator's answer and not judged either.
///
/// # Errors
/// [`SchemaError`].
pub fn judge(object: &Value) -> Result<(), SchemaError> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let version = text("/apiVersion").unwrap_or_default();
    if version.split('/').next() != Some(GROUP) {
        return Ok(());
    }
    let kind = text("/kind").unwrap_or_default();
    let refused = |problems| {
        Err(SchemaError::Refused(SchemaRefusal {
            kind: kind.to_owned(),
            name: text("/metadata/name").unwrap_or_default().to_owned(),
            problems: SchemaProblems(problems),
        }))
    };
    let Some(judged) = kind_of(object)? else {
        return refused(vec![format!(
            "{version} {kind} is no kind of {API_VERSION}"
        )]);
    };
    let mut asked = object.clone();
    if let Some(map) = asked.as_object_mut() {
        map.remove("status");
    }
    drop_nulls(&judged.schema, &mut asked);
    let found = problems(&judged.schema, &judged.patterns, &asked);
    if !found.is_empty() {
        // As an API server does: rules see an object of the right structure only.
        return refused(found);
    }
    match Validator::new().validate_compiled(&judged.rules, &asked, None) {
        Ok(()) => Ok(()),
        Err(errors) => refused(errors.as_slice().iter().map(broken_rule).collect()),
    }
}

fn broken_rule(error: &kube::core::cel::ValidationError) -> String {
    let at = &error.field_path;
    let message = &error.message;
    match error.kind {
        ErrorKind::ValidationFailure => format!("{at}: Invalid value: {message}"),
        _ => format!(
            "{at}: the rule `{}` cannot be evaluated here, so nobody knows whether the object is valid: {message}; ask an API \
             server with `kubectl apply --dry-run=server`",
            error.rule
        ),
    }
}
