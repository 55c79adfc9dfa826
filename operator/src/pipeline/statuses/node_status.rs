//! What the status of a NodeIntent says of its node: the operator's verdict, and what the node's report says while that
//! counts. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_compile::verdict::{Detail, Verdict};
use postern_crds::NodeIntentStatus;
use postern_crds::conditions::{ConditionStatus, ConditionType, Finding, Reason, find};

use super::fold::folded;

/// Every condition of a node, in the order in which they are shown.
pub(super) const CONDITIONS: [ConditionType; 8] = [
    ConditionType::Accepted,
    ConditionType::Programmed,
    ConditionType::Ready,
    ConditionType::Verified,
    ConditionType::FailClosed,
    ConditionType::SourceBinding,
    ConditionType::SecondLock,
    ConditionType::Preflight,
];

/// What a node is ready by: the first that does not hold says why it is not. The others narrow the promise, and a node
/// without them still keeps the rest of it.
const READY_BY: [ConditionType; 4] = [
    ConditionType::FailClosed,
    ConditionType::Accepted,
    ConditionType::Programmed,
    ConditionType::Verified,
];

/// How long a node may take to apply an intent before its status says so. An intent is up to 700 kB, and each write of its
/// status writes it whole: that it is on its way is not worth one.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(30);

const UNPUBLISHED: &str = "a newer intent for it waits for more than half a minute to be published; the operator's log names \
    the cause";

/// Everything that is found about a node.
pub(super) fn findings(verdict: &Verdict) -> Vec<Finding> {
    let reported: &[Finding] = match &verdict.detail {
        Detail::Node { reported, .. } => reported,
        _ => &[],
    };
    let of = |all: &[Finding], kind| all.iter().find(|one| one.kind == kind).cloned();
    let mut found: Vec<Finding> = CONDITIONS
        .into_iter()
        .filter(|kind| *kind != ConditionType::Ready)
        .map(|kind| {
            let (own, said) = (of(&verdict.conditions, kind), of(reported, kind));
            let pending = || Finding::unknown(kind, Reason::Pending, Reason::Pending.sentence());
            more_telling(own, said).unwrap_or_else(pending)
        })
        .collect();
    let mut reasons = READY_BY
        .into_iter()
        .filter_map(|kind| found.iter().find(|one| one.kind == kind));
    let fault = reasons.find(|one| one.state != ConditionStatus::True);
    let ready = match fault {
        None => Finding::yes(
            ConditionType::Ready,
            Reason::Ready,
            "its kernel carries what is published for it, behind a guard that was read back",
        ),
        Some(fault) => Finding {
            kind: ConditionType::Ready,
            ..fault.clone()
        },
    };
    found.push(ready);
    found
}

/// Of what the operator finds and what the node says about the same condition: a fault that the node names comes before the
/// operator's word that all is well or on its way.
fn more_telling(own: Option<Finding>, said: Option<Finding>) -> Option<Finding> {
    match (own, said) {
        (Some(own), Some(said)) if said.state == ConditionStatus::False && is_open(&own) => {
            Some(said)
        }
        (Some(own), _) => Some(own),
        (None, said) => said,
    }
}

fn is_open(own: &Finding) -> bool {
    own.state == ConditionStatus::True || own.reason == Reason::Converging
}

/// The status of the node's intent, which is at that generation. What only is on its way leaves the former status, whose
/// generation says that it is about an older intent.
pub(super) fn status(
    verdict: &Verdict,
    there: Option<&NodeIntentStatus>,
    generation: Option<i64>,
    now: Timestamp,
) -> NodeIntentStatus {
    let findings = findings(verdict);
    let (applied, published) = match &verdict.detail {
        Detail::Node {
            applied, published, ..
        } => (*applied, *published),
        _ => (None, None),
    };
    let is_new = published.is_some_and(|(_, issued)| now.duration_since(issued) < ON_ITS_WAY);
    if let Some(there) = there
        && is_new
        && is_on_its_way(&findings, &there.conditions)
    {
        return there.clone();
    }
    let old: &[Condition] = there.map_or(&[], |there| &there.conditions);
    NodeIntentStatus {
        conditions: folded(&CONDITIONS, findings, (old, generation), now),
        observed_generation: generation,
        applied_serial: applied.map(|serial| serial.0),
    }
}

/// Is the intent on its way, and everything else as it was? What is ready follows from the others.
fn is_on_its_way(findings: &[Finding], there: &[Condition]) -> bool {
    findings.iter().all(|one| match one.kind {
        ConditionType::Ready => true,
        ConditionType::Programmed => one.reason == Reason::Converging,
        kind => find(there, kind).is_some_and(|old| is_same(one, old)),
    })
}

fn is_same(finding: &Finding, old: &Condition) -> bool {
    old.status == finding.state.as_str()
        && old.reason == finding.reason.as_str()
        && old.message == finding.message
}

/// How many nodes there are by condition and by its status.
pub(super) fn counts(verdicts: &[Verdict]) -> BTreeMap<(ConditionType, ConditionStatus), usize> {
    let states = [
        ConditionStatus::True,
        ConditionStatus::False,
        ConditionStatus::Unknown,
    ];
    let mut counts: BTreeMap<_, usize> = CONDITIONS
        .into_iter()
        .flat_map(|kind| states.map(|state| ((kind, state), 0)))
        .collect();
    let nodes = verdicts.iter().filter(|verdict| verdict.kind == "Node");
    for finding in nodes.flat_map(findings) {
        *counts.entry((finding.kind, finding.state)).or_default() += 1;
    }
    counts
}

/// The verdict, where what it decided is not published for a while: the object that is there gets a status all the same.
pub(super) fn unpublished(verdict: &Verdict) -> Verdict {
    let mut verdict = verdict.clone();
    // A reason that the verdict names itself, such as unknown ranges, comes first.
    let mut conditions = verdict.conditions.iter_mut();
    if let Some(programmed) = conditions
        .find(|one| one.kind == ConditionType::Programmed && one.reason == Reason::Converging)
    {
        UNPUBLISHED.clone_into(&mut programmed.message);
    }
    if let Detail::Node { published, .. } = &mut verdict.detail {
        *published = None;
    }
    verdict
}

/// Is the status about what is published now? Before the watch shows that, nothing is known of it.
pub(super) fn is_about(verdict: &Verdict, serial: Option<u64>) -> bool {
    match &verdict.detail {
        Detail::Node {
            published: Some((published, _)),
            ..
        } => serial == Some(published.0),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::{SignedDuration, Timestamp};
    use postern_compile::verdict::{Detail, Verdict};
    use postern_crds::NodeIntentStatus;
    use postern_crds::conditions::{ConditionStatus, ConditionType, Finding, Reason, find};
    use postern_intent::Serial;

    use super::{UNPUBLISHED, counts, is_about, status, unpublished};

    const ISSUED: Timestamp = Timestamp::UNIX_EPOCH;

    fn programmed(reason: Reason) -> Finding {
        match reason {
            Reason::Programmed => Finding::yes(ConditionType::Programmed, reason, "serial 7"),
            _ => Finding::no(
                ConditionType::Programmed,
                reason,
                "serial 7 is not reported yet",
            ),
        }
    }

    /// The verdict on a node that is well but for what is given.
    fn verdict(own: Finding, said: &[Finding]) -> Verdict {
        let well = [
            (ConditionType::Verified, Reason::Verified),
            (ConditionType::FailClosed, Reason::Sealed),
            (ConditionType::Programmed, Reason::Programmed),
        ];
        let mut reported = said.to_vec();
        for (kind, reason) in well {
            if said.iter().all(|one| one.kind != kind) {
                reported.push(Finding::yes(kind, reason, reason.sentence()));
            }
        }
        Verdict {
            kind: "Node",
            namespace: None,
            name: "n1".to_owned(),
            generation: None,
            conditions: vec![
                Finding::yes(ConditionType::Accepted, Reason::Accepted, "well"),
                own,
            ],
            detail: Detail::Node {
                blocked: BTreeMap::new(),
                reported,
                applied: Some(Serial(7)),
                published: Some((Serial(7), ISSUED)),
            },
        }
    }

    fn after(seconds: i64) -> Timestamp {
        ISSUED + SignedDuration::from_secs(seconds)
    }

    fn ready(status: &NodeIntentStatus) -> (&str, &str, &str) {
        let ready = find(&status.conditions, ConditionType::Ready).expect("a condition");
        (&ready.status, &ready.reason, &ready.message)
    }

    #[test]
    fn a_node_that_carries_its_intent_is_ready_and_every_condition_is_there() {
        let well = verdict(programmed(Reason::Programmed), &[]);
        let status = status(&well, None, Some(3), after(1));
        assert_eq!(ready(&status).0, "True");
        assert_eq!(status.conditions.len(), super::CONDITIONS.len());
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(status.applied_serial, Some(7));
        let all = counts(&[well]);
        assert_eq!(all[&(ConditionType::Ready, ConditionStatus::True)], 1);
        assert_eq!(
            all[&(ConditionType::SecondLock, ConditionStatus::Unknown)],
            1
        );
    }

    #[test]
    fn the_fault_that_a_node_names_stands_in_its_status_with_the_remedy() {
        let (kind, remedy) = (
            ConditionType::Programmed,
            "nft refuses the table; load nf_tables",
        );
        let fault = Finding::no(kind, Reason::TransactionFailed, remedy);
        let ill = verdict(programmed(Reason::Converging), &[fault]);
        let status = status(&ill, None, Some(3), after(1));
        assert_eq!(ready(&status), ("False", "TransactionFailed", remedy));
        assert_eq!(
            counts(&[ill])[&(ConditionType::Ready, ConditionStatus::False)],
            1
        );
    }

    #[test]
    fn an_intent_that_is_on_its_way_is_no_write_and_one_that_does_not_arrive_is() {
        let well = verdict(programmed(Reason::Programmed), &[]);
        let first = status(&well, None, Some(3), after(1));
        let on_its_way = verdict(programmed(Reason::Converging), &[]);
        let soon = status(&on_its_way, Some(&first), Some(4), after(29));
        assert_eq!(
            soon, first,
            "its generation says that it is about the older one"
        );
        let late = status(&on_its_way, Some(&first), Some(4), after(30));
        assert_eq!(ready(&late).1, "Converging");
        assert_eq!(late.observed_generation, Some(4));
    }

    #[test]
    fn a_fault_is_written_at_once_though_an_intent_is_on_its_way() {
        let well = verdict(programmed(Reason::Programmed), &[]);
        let first = status(&well, None, Some(3), after(1));
        let fault = Finding::no(
            ConditionType::Verified,
            Reason::BadSignature,
            "it is refused",
        );
        let refused = verdict(programmed(Reason::Converging), &[fault]);
        let soon = status(&refused, Some(&first), Some(4), after(2));
        assert_eq!(
            ready(&soon),
            ("False", "Converging", "serial 7 is not reported yet")
        );
        assert_eq!(
            soon.conditions[3].reason, "BadSignature",
            "{:?}",
            soon.conditions[3]
        );
        let again = status(&refused, Some(&soon), Some(5), after(2));
        assert_eq!(again, soon, "it is written once");
    }

    #[test]
    fn a_verdict_is_about_the_intent_of_its_serial_alone() {
        let well = verdict(programmed(Reason::Programmed), &[]);
        assert!(is_about(&well, Some(7)));
        assert!(!is_about(&well, Some(6)));
    }

    #[test]
    fn an_intent_that_cannot_be_published_is_a_fault_in_the_status_of_the_one_that_is_there() {
        let well = verdict(programmed(Reason::Programmed), &[]);
        let first = status(&well, None, Some(3), after(1));
        let waiting = unpublished(&verdict(programmed(Reason::Converging), &[]));
        let now = status(&waiting, Some(&first), Some(3), after(2));
        assert_eq!(ready(&now), ("False", "Converging", UNPUBLISHED));
        let ranges = Finding::no(
            ConditionType::Programmed,
            Reason::RangesUnknown,
            "name them",
        );
        let now = status(
            &unpublished(&verdict(ranges, &[])),
            Some(&first),
            Some(3),
            after(2),
        );
        assert_eq!(ready(&now), ("False", "RangesUnknown", "name them"));
    }
}
