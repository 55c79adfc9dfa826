//! What is said while the settings file is refused: an Event on the ConfigMap, and a condition on every exit. Pure.

use postern_compile::verdict::Verdict;
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_crds::names::SETTINGS_CONFIG_MAP;

use super::events::{EventNotice, EventTarget};
use super::warnings::{NamedNotices, warning};

/// What to do about it.
const REMEDY: &str = "Mend settings.yaml in the ConfigMap postern-settings.";

/// Adds to the verdict on every exit whether the settings file is in force. On exits, because the administrator who writes
/// the settings writes them too, and the operator has no object of its own with a status.
pub(super) fn judge_settings(verdicts: &mut [Verdict], refused: Option<&str>) {
    let kind = ConditionType::SettingsAccepted;
    let finding = match refused {
        Some(why) => Finding::no(
            kind,
            Reason::SettingsRefused,
            format!("{why}. The settings of before stay in force. {REMEDY}"),
        ),
        None => Finding::yes(kind, Reason::Accepted, "the settings file is in force"),
    };
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| verdict.kind == "ExitNode")
    {
        verdict.conditions.push(finding.clone());
    }
}

/// A settings file that is refused while the operator runs.
pub(super) fn of_refused_settings(namespace: &str, refused: Option<&str>) -> NamedNotices {
    let Some(why) = refused else {
        return NamedNotices::new();
    };
    let note = format!("{why}. The settings of before stay in force. {REMEDY}");
    let key = (SETTINGS_CONFIG_MAP.to_owned(), why.to_owned());
    [(key, notice(namespace, note))].into()
}

/// A settings file that is refused when the operator starts.
#[must_use]
pub fn refused_at_start(namespace: &str, why: &str) -> EventNotice {
    let note =
        format!("{why}. The operator ends, and decides nothing until it is mended. {REMEDY}");
    notice(namespace, note)
}

fn notice(namespace: &str, note: String) -> EventNotice {
    let regarding = EventTarget::core("ConfigMap", namespace, SETTINGS_CONFIG_MAP);
    warning(regarding, Reason::SettingsRefused, "Read", note)
}

#[cfg(test)]
mod tests {
    use postern_compile::PolicyPodCounts;
    use postern_compile::verdict::{Detail, Verdict};
    use postern_crds::conditions::{ConditionStatus, ConditionType};
    use postern_crds::egress_policy::NodeCounts;

    use super::{judge_settings, of_refused_settings};

    fn verdict(kind: &'static str) -> Verdict {
        Verdict {
            kind,
            namespace: None,
            name: "it".to_owned(),
            generation: Some(1),
            conditions: Vec::new(),
            detail: Detail::Policy {
                exit: None,
                pods: PolicyPodCounts::default(),
                nodes: NodeCounts::default(),
            },
        }
    }

    #[test]
    fn every_exit_and_no_other_object_says_whether_the_settings_file_is_in_force() {
        for (refused, state) in [
            (None, ConditionStatus::True),
            (Some("unknown keys: a"), ConditionStatus::False),
        ] {
            let mut verdicts = [verdict("ExitNode"), verdict("EgressPolicy")];
            judge_settings(&mut verdicts, refused);
            let found = &verdicts[0].conditions[0];
            assert_eq!(
                (found.kind, found.state),
                (ConditionType::SettingsAccepted, state)
            );
            assert!(found.message.contains(refused.unwrap_or("in force")));
            assert!(verdicts[1].conditions.is_empty());
        }
    }

    #[test]
    fn another_refusal_is_another_notice_and_none_is_none() {
        let key = |refused| of_refused_settings("system", refused).into_keys().next();
        assert_ne!(key(Some("unknown keys: a")), key(Some("unknown keys: b")));
        assert_eq!(key(None), None);
    }
}
