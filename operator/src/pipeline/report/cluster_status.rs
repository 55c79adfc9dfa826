//! The status of the NodeIntent that carries the cluster document. Pure.

use postern_compile::verdict::{Detail, Verdict};
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_crds::names::CLUSTER_INTENT;

/// The kind of this verdict; it has a status of the same type as a node's, with fewer conditions.
pub(super) const CLUSTER: &str = "Cluster";

const PUBLISHED: &str =
    "every node reads it; the intent of each node says whether that node applied it";

/// The verdict on what is published. What did not fit into it is said at every node.
pub(super) fn of_cluster(generation: Option<i64>) -> Verdict {
    let accepted = Reason::Accepted;
    Verdict {
        kind: CLUSTER,
        namespace: None,
        name: CLUSTER_INTENT.to_owned(),
        generation,
        conditions: vec![
            Finding::yes(ConditionType::Accepted, accepted, accepted.sentence()),
            Finding::yes(ConditionType::Ready, Reason::Ready, PUBLISHED),
        ],
        detail: Detail::Nothing {},
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use postern_crds::conditions::{ConditionType, find};

    use super::super::status::{NODE_INTENT_STATUS, desired};
    use super::{CLUSTER_INTENT, of_cluster};

    #[test]
    fn the_cluster_document_has_a_status_that_claims_nothing_about_a_node() {
        let verdict = of_cluster(Some(3));
        let status = desired(&verdict, None, Some(3), Timestamp::UNIX_EPOCH).expect("a status");
        assert_eq!(
            (status.key.kind, status.key.name.as_str()),
            (NODE_INTENT_STATUS, CLUSTER_INTENT)
        );
        let conditions = status.status.conditions();
        let ready = find(conditions, ConditionType::Ready).expect("a condition");
        assert_eq!(
            (&*ready.status, ready.observed_generation),
            ("True", Some(3))
        );
        assert!(find(conditions, ConditionType::FailClosed).is_none());
    }
}
