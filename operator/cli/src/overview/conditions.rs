//! What a list of conditions comes down to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_crds::conditions::{ConditionStatus, ConditionType, Reason, find, is_current};
use postern_crds::schema::kubernetes::NOT_LOOKED_AT;
use serde::Serialize;

use crate::cluster::UnreadableObject;

/// Why something is not as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineFinding {
    pub reason: String,
    pub message: String,
}

impl LineFinding {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// An object that no operator has looked at since it was made: the API server has written the default of its status, or
    /// nothing where the definitions are older than that default.
    pub(crate) fn unseen(observed: Option<i64>, conditions: &[Condition]) -> Option<Self> {
        let is_unseen =
            conditions.is_empty() && observed.is_none_or(|observed| observed == NOT_LOOKED_AT);
        is_unseen.then(|| {
            let message = "no operator has looked at it yet; where that stays so, see whether one leads: \
                kubectl -n postern-system get lease postern-operator";
            Self::new(Reason::Pending, message)
        })
    }

    /// An object that this program does not understand: its state is unknown.
    pub(super) fn unreadable(object: &UnreadableObject) -> Self {
        let message = format!("the object cannot be read: {}", object.why);
        Self::new(Reason::Invalid, message)
    }

    /// A condition that does not hold, in its own words; none: it holds.
    fn of(condition: &Condition) -> Option<Self> {
        (condition.status != ConditionStatus::True.as_str()).then(|| Self {
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
    }

    /// The last column of a line: the reason and a sentence, or nothing where there is no finding.
    pub(super) fn cell(finding: Option<&Self>) -> String {
        finding.map_or_else(String::new, |one| {
            format!("{}: {}", one.reason, one.message)
        })
    }

    /// Whether another finding explains more.
    pub(super) fn is_passing(&self) -> bool {
        PASSING.iter().any(|one| one.as_str() == self.reason)
    }
}

/// Reasons that say only that something else is not over yet: another one explains more.
const PASSING: [Reason; 2] = [Reason::Pending, Reason::Converging];

/// Conditions of one object, of which only those count that are about its present generation. A report has no
/// generations.
pub(crate) struct Conditions<'a> {
    pub(crate) all: &'a [Condition],
    pub(crate) generation: Option<i64>,
}

impl<'a> Conditions<'a> {
    fn get(&self, kind: ConditionType) -> Option<&'a Condition> {
        find(self.all, kind).filter(|condition| {
            let generation = self.generation;
            generation.is_none_or(|generation| is_current(condition, generation))
        })
    }

    /// The status of a condition; `Unknown` where nobody has said anything about this generation.
    pub(super) fn status(&self, kind: ConditionType) -> String {
        self.get(kind).map_or_else(
            || ConditionStatus::Unknown.as_str().to_owned(),
            |found| found.status.clone(),
        )
    }

    /// Why not all of these hold: the first one that explains, else the first one.
    pub(super) fn finding(&self, kinds: &[ConditionType]) -> Option<LineFinding> {
        self.explaining(kinds).into_iter().next()
    }

    /// Why not all of these hold: all that explain, each reason once, else the first one.
    pub(crate) fn explaining(&self, kinds: &[ConditionType]) -> Vec<LineFinding> {
        let not_so = |kind: &ConditionType| match self.get(*kind) {
            Some(found) => LineFinding::of(found),
            None => Some(LineFinding::new(
                Reason::Pending,
                format!("nobody has said anything about {kind} of this generation yet"),
            )),
        };
        let findings: Vec<LineFinding> = kinds.iter().filter_map(not_so).collect();
        let mut explaining: Vec<LineFinding> = Vec::new();
        for finding in findings.iter().filter(|finding| !finding.is_passing()) {
            if !explaining.iter().any(|one| one.reason == finding.reason) {
                explaining.push(finding.clone());
            }
        }
        match explaining.is_empty() {
            true => findings.into_iter().take(1).collect(),
            false => explaining,
        }
    }

    /// The first of these that is there and does not hold, where it explains.
    pub(super) fn fault(&self, kinds: &[ConditionType]) -> Option<LineFinding> {
        let found = kinds.iter().filter_map(|kind| self.get(*kind));
        let mut faults = found.filter_map(LineFinding::of);
        faults.find(|finding| !finding.is_passing())
    }
}
