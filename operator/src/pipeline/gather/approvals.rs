//! People's approvals, and which entries of their ConfigMap are none. Pure.

use k8s_openapi::api::core::v1::ConfigMap;
use postern_compile::gate::{Approval, read_entries};
use postern_crds::conditions::Reason;
use postern_crds::names::APPROVALS_CONFIG_MAP;

use super::taken::ReadProblem;
use crate::watches::WatchedKind;

pub fn approvals(map: Option<&ConfigMap>, problems: &mut Vec<ReadProblem>) -> Vec<Approval> {
    let Some(map) = map else {
        return Vec::new();
    };
    let mut approvals = Vec::new();
    for (entry, approval) in map.data.iter().flat_map(read_entries) {
        match approval {
            Ok(approval) => approvals.push(approval),
            Err(error) => problems.push(ReadProblem {
                kind: WatchedKind::ConfigMap,
                namespace: map.metadata.namespace.clone(),
                name: APPROVALS_CONFIG_MAP.to_owned(),
                uid: map.metadata.uid.clone(),
                reason: Reason::Invalid,
                what: format!("entry {entry} is no approval: {error}"),
            }),
        }
    }
    approvals
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::approvals;

    #[test]
    fn an_approval_that_cannot_be_read_stops_no_other() {
        let good = "subject: {policy: shop/p}\ncause: PolicyDeleted\ndigest: abc\n";
        let map = ConfigMap {
            data: Some(
                [("a", good), ("b", "yes please")]
                    .map(|(name, text)| (name.to_owned(), text.to_owned()))
                    .into(),
            ),
            ..ConfigMap::default()
        };
        let mut problems = Vec::new();
        assert_eq!(approvals(Some(&map), &mut problems).len(), 1);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].what.contains("entry b"), "{problems:?}");
    }
}
