//! Whether the policies' definition is there, and whether it is still the same one. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_compile::snapshot::Definitions;

/// The definition as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyDefinition {
    /// Its UID; none: it is not there.
    pub uid: Option<String>,
    /// Whether somebody is deleting it.
    pub state: Definitions,
}

impl PolicyDefinition {
    #[must_use]
    pub fn of(metadata: Option<&ObjectMeta>) -> Self {
        let Some(metadata) = metadata else {
            return Self {
                uid: None,
                state: Definitions::Terminating,
            };
        };
        Self {
            uid: metadata.uid.clone(),
            state: match metadata.deletion_timestamp {
                Some(_) => Definitions::Terminating,
                None => Definitions::Serving,
            },
        }
    }
}

/// The compiler's input about the definition. A definition under another UID than at the last compile means that the old one went,
/// and every policy with it, however fast the new one came.
#[must_use]
pub fn definitions(seen: &PolicyDefinition, remembered: Option<&str>) -> Definitions {
    match (&seen.uid, remembered) {
        (Some(uid), Some(remembered)) if uid != remembered => Definitions::Terminating,
        _ => seen.state,
    }
}

#[cfg(test)]
mod tests {
    use postern_compile::snapshot::Definitions;

    use super::{PolicyDefinition, definitions};

    #[test]
    fn a_definition_that_is_gone_or_another_one_took_the_policies_with_it() {
        let served = PolicyDefinition {
            uid: Some("u1".to_owned()),
            state: Definitions::Serving,
        };
        let cases = [
            (
                PolicyDefinition::of(None),
                Some("u1"),
                Definitions::Terminating,
            ),
            (PolicyDefinition::of(None), None, Definitions::Terminating),
            (served.clone(), Some("u1"), Definitions::Serving),
            (served.clone(), None, Definitions::Serving),
            (served, Some("u0"), Definitions::Terminating),
        ];
        for (seen, remembered, expected) in cases {
            assert_eq!(
                definitions(&seen, remembered),
                expected,
                "{seen:?} {remembered:?}"
            );
        }
    }
}
