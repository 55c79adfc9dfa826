//! The tables of cases in `cases/`; the cases of the API server in e2e read the same ones.

use serde::Deserialize;

use crate::samples::Edits;

/// A wrong object and the rule that refuses it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Kind of the object.
    pub(crate) kind: String,
    /// Where the rule stands, as in `spec.rules[].to[]`.
    pub(crate) at: String,
    /// A part of the rule's message that no other rule at this place has.
    pub(crate) says: String,
    /// Whether the object updates the smallest right one; else it is created.
    #[serde(default)]
    pub(crate) update: bool,
    /// What makes the smallest right object wrong.
    pub(crate) set: Edits,
}

/// Objects that a rule of the schema refuses.
pub(crate) fn cases() -> Vec<Case> {
    let files = [
        include_str!("cases/exit_node.yaml"),
        include_str!("cases/egress_policy.yaml"),
        include_str!("cases/cluster_egress_policy.yaml"),
        include_str!("cases/interface_isolation.yaml"),
        include_str!("cases/node.yaml"),
    ];
    let lists = files.map(|text| serde_saphyr::from_str::<Vec<Case>>(text).unwrap());
    lists.into_iter().flatten().collect()
}

/// An object with fields that are not honoured, and their names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotHonoured {
    /// Kind of the object.
    pub(crate) kind: String,
    /// What makes the smallest right object ask for too much.
    pub(crate) set: Edits,
    /// The fields, in the order of the table.
    pub(crate) names: Vec<String>,
}

/// Objects that the schema takes and this version does not honour.
pub(crate) fn not_honoured() -> Vec<NotHonoured> {
    serde_saphyr::from_str(include_str!("cases/not_honoured.yaml")).unwrap()
}
