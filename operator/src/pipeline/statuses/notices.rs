//! Which transitions of conditions become Events: few, and useful. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_compile::gate::{ApprovalCause, ApprovalSubject, HeldUntil, PendingApproval};
use postern_compile::verdict::Verdict;
use postern_crds::conditions::{ConditionStatus, ConditionType, Reason, find};

use super::events::{EventNotice, EventTarget, EventTone};

/// What changed between two statuses of one object.
#[must_use]
pub fn between(
    regarding: &EventTarget,
    before: &[Condition],
    after: &[Condition],
) -> Vec<EventNotice> {
    let announced = [
        ConditionType::Accepted,
        ConditionType::ResolvedRefs,
        ConditionType::Programmed,
        ConditionType::Ready,
        ConditionType::FullyEnforced,
    ];
    announced
        .into_iter()
        .filter_map(|kind| {
            let now = find(after, kind)?;
            let was = find(before, kind);
            let same = was.is_some_and(|was| was.status == now.status && was.reason == now.reason);
            (!same && is_announced(kind, was, now)).then(|| EventNotice {
                regarding: regarding.clone(),
                tone: tone(now),
                reason: now.reason.clone(),
                action: kind.to_string(),
                note: now.message.clone(),
            })
        })
        .collect()
}

/// Whether a transition becomes an Event. A condition that becomes true is announced for `Ready` alone, one that becomes
/// false always; a state that passes by itself never is.
fn is_announced(kind: ConditionType, was: Option<&Condition>, now: &Condition) -> bool {
    let passing = [
        Reason::Converging.as_str(),
        Reason::Pending.as_str(),
        Reason::Unused.as_str(),
    ];
    if passing.contains(&now.reason.as_str()) {
        return false;
    }
    match now.status.as_str() {
        "True" => {
            kind == ConditionType::Ready
                || (kind == ConditionType::Accepted
                    && was.is_some_and(|was| was.status == ConditionStatus::False.as_str()))
        }
        "False" => true,
        // `Unknown` from the start says nothing new; a report that no longer counts does.
        _ => kind == ConditionType::Ready && now.reason == Reason::Stale.as_str(),
    }
}

fn tone(condition: &Condition) -> EventTone {
    if condition.status == ConditionStatus::True.as_str() {
        EventTone::Normal
    } else {
        EventTone::Warning
    }
}

/// What is bad about nodes, by node and condition, so that only what is new is announced.
#[must_use]
pub fn of_nodes(verdicts: &[Verdict]) -> BTreeMap<(String, String), EventNotice> {
    let mut notices = BTreeMap::new();
    for verdict in verdicts.iter().filter(|verdict| verdict.kind == "Node") {
        for finding in &verdict.conditions {
            // An Event that asks for an approval carries the digest: nothing else shows it to the person who approves. Unknown
            // ranges are announced at policies and exits, of which there are fewer than nodes.
            let passing = matches!(
                finding.reason,
                Reason::Converging | Reason::Pending | Reason::Restored | Reason::RangesUnknown
            );
            let is_bad = finding.state == ConditionStatus::False || finding.reason == Reason::Stale;
            if !is_bad || passing {
                continue;
            }
            let notice = EventNotice {
                regarding: EventTarget::node(&verdict.name),
                tone: EventTone::Warning,
                reason: finding.reason.to_string(),
                action: finding.kind.to_string(),
                note: finding.message.clone(),
            };
            let key = (
                verdict.name.clone(),
                format!("{}/{}", finding.kind, finding.reason),
            );
            notices.insert(key, notice);
        }
    }
    notices
}

/// What waits for an approval, with what a person needs to approve it.
#[must_use]
pub fn of_held(held: &[PendingApproval]) -> BTreeMap<(String, String), EventNotice> {
    let mut notices = BTreeMap::new();
    for one in held {
        let (regarding, reason) = match &one.subject {
            // The Event lies in that namespace, where its users look; one about an object of the cluster lies in default.
            ApprovalSubject::Namespace(name) => {
                let regarding = EventTarget {
                    namespace: Some(name.to_string()),
                    ..EventTarget::namespace(name.as_str())
                };
                (regarding, Reason::ReleaseHeld)
            }
            ApprovalSubject::Node(name) => (EventTarget::node(name.as_str()), Reason::Restored),
            ApprovalSubject::Policy(name) => (of_policy(name), Reason::ReleaseHeld),
        };
        // With the UID, so that `kubectl describe` of the object lists it.
        let regarding = EventTarget {
            uid: one.uid.as_ref().map(ToString::to_string),
            ..regarding
        };
        let effect = match one.cause {
            ApprovalCause::Restored => "nothing is published for it".to_owned(),
            _ => format!("{} pods would be released", one.pods),
        };
        let turn = match one.until {
            HeldUntil::Approved => "",
            HeldUntil::Window => "the releases of the last minutes have left the window, or ",
        };
        let notice = EventNotice {
            regarding,
            tone: EventTone::Warning,
            reason: reason.to_string(),
            action: "Approve".to_owned(),
            note: format!(
                "{}: {effect} until {turn}somebody approves digest {}: posternctl approve {}",
                one.cause, one.digest, one.subject
            ),
        };
        notices.insert((one.subject.to_string(), one.digest.clone()), notice);
    }
    notices
}

/// A policy that is gone is still what its Event is about.
fn of_policy(name: &str) -> EventTarget {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    EventTarget::own("EgressPolicy", Some(namespace.to_owned()), name, None)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use k8s_openapi::jiff::Timestamp;

    use postern_compile::gate::{ApprovalCause, ApprovalSubject, HeldUntil, PendingApproval};

    use super::super::events::EventTarget;
    use super::{between, of_held};

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "words".to_owned(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    fn announced(before: &[Condition], after: &[Condition]) -> Vec<String> {
        let notices = between(&EventTarget::node("n1"), before, after);
        notices.into_iter().map(|notice| notice.reason).collect()
    }

    #[test]
    fn a_transition_is_announced_once_and_a_change_of_words_never() {
        let ready = [condition("Ready", "True", "Ready")];
        assert_eq!(announced(&[], &ready), ["Ready"]);
        assert!(announced(&ready, &ready).is_empty());
        let mut reworded = ready.clone();
        reworded[0].message = "other words".to_owned();
        assert!(announced(&ready, &reworded).is_empty());
        let blocked = [condition("Ready", "False", "NoExit")];
        assert_eq!(announced(&ready, &blocked), ["NoExit"]);
        assert_eq!(announced(&blocked, &ready), ["Ready"]);
    }

    #[test]
    fn what_is_on_its_way_is_no_probes() {
        let after = [
            condition("Accepted", "True", "Accepted"),
            condition("Programmed", "False", "Converging"),
            condition("Ready", "Unknown", "Pending"),
        ];
        assert!(announced(&[], &after).is_empty());
    }

    #[test]
    fn that_a_node_is_not_heard_any_more_is_news_and_that_it_was_not_heard_yet_is_none() {
        let ready = [condition("Ready", "True", "Ready")];
        let stale = [condition("Ready", "Unknown", "Stale")];
        assert_eq!(announced(&ready, &stale), ["Stale"]);
        assert!(announced(&stale, &stale).is_empty());
        assert_eq!(announced(&stale, &ready), ["Ready"]);
    }

    #[test]
    fn an_object_that_was_refused_and_is_accepted_says_so() {
        let before = [condition("Accepted", "False", "Invalid")];
        let after = [condition("Accepted", "True", "Accepted")];
        assert_eq!(announced(&before, &after), ["Accepted"]);
    }

    /// `kubectl describe` asks for Events by the UID of what it describes, also of a policy that is gone.
    #[test]
    fn what_waits_for_an_approval_is_told_with_the_uid_of_what_it_is_about() {
        let held = PendingApproval {
            subject: ApprovalSubject::Policy("shop/p".to_owned()),
            cause: ApprovalCause::PolicyDeleted,
            digest: "d".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            pods: 3,
            until: HeldUntil::Approved,
            uid: Some("u1".parse().expect("a UID")),
        };
        let notices = of_held(&[held]);
        let regarding = notices.values().map(|notice| &notice.regarding);
        let namespace = Some("shop".to_owned());
        let policy = EventTarget::own("EgressPolicy", namespace, "p", Some("u1".to_owned()));
        assert!(regarding.eq([&policy]));
    }
}
