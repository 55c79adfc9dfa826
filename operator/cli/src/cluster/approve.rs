//! Adding approvals to what others approved.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use postern_compile::gate::{Approval, ApprovalSubject, read_entries};
use postern_crds::names::{APPROVALS_CONFIG_MAP, CTL_FIELD_MANAGER};
use serde_saphyr::SerializeError;

use super::ask::ask;
use super::error::ClusterError;
use super::namespace_client::NamespaceClient;
use super::request::ResourceRequest;
use crate::approval::{ApprovalEntry, Effect};

/// How often it is tried when somebody else writes at the same time.
const ATTEMPTS: usize = 5;

/// How many characters of a digest stand in an entry's name, and how many if that name is taken.
const DIGITS: [usize; 2] = [12, 64];

/// The longest key of a ConfigMap, in bytes (Kubernetes, `IsConfigMapKey`).
const LONGEST_KEY: usize = 253;

/// Approvals with those of before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedApprovals {
    /// The entries of the ConfigMap. Those of before stay as they were, also those that cannot be read.
    pub data: BTreeMap<String, String>,
    /// What became of each approval, in order.
    pub entered: Vec<ApprovalEntry>,
}

/// Adds approvals to the entries of the ConfigMap. Pure.
///
/// # Errors
/// If an approval cannot be written as YAML.
pub fn merge(
    data: BTreeMap<String, String>,
    approvals: &[Approval],
) -> Result<MergedApprovals, SerializeError> {
    let mut data = data;
    let mut entered = Vec::with_capacity(approvals.len());
    for approval in approvals {
        let there = read_entries(&data).any(|(_, found)| found.is_ok_and(|one| one == *approval));
        if there {
            entered.push(ApprovalEntry::Already);
            continue;
        }
        let text = serde_saphyr::to_string(approval)?;
        data.insert(key(&data, approval), text);
        entered.push(ApprovalEntry::New);
    }
    Ok(MergedApprovals { data, entered })
}

/// The name of an approval's entry. What somebody else keeps under a short name stays; the long one is the approval's own.
fn key(data: &BTreeMap<String, String>, approval: &Approval) -> String {
    let [short, long] = DIGITS.map(|digits| key_with(approval, digits));
    if data.contains_key(&short) {
        long
    } else {
        short
    }
}

/// Kind, name and the digest's first characters, of what a key may be made of: `[-._a-zA-Z0-9]+`.
fn key_with(approval: &Approval, digits: usize) -> String {
    let (kind, name) = match &approval.subject {
        ApprovalSubject::Policy(name) => ("policy", name.as_str()),
        ApprovalSubject::Namespace(name) => ("namespace", name.as_str()),
        ApprovalSubject::Node(name) => ("node", name.as_str()),
    };
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let word = |text: &str, most: usize| -> String {
        let letters = text.chars().take(most);
        letters
            .map(|letter| if allowed(letter) { letter } else { '.' })
            .collect()
    };
    let digest = word(&approval.digest, digits);
    let room = LONGEST_KEY - kind.len() - digest.len() - 2;
    format!("{kind}.{}.{digest}", word(name, room))
}

/// Adds approvals to the ConfigMap, which is made if there is none. The version that was read is the one that is
/// replaced: of two who write at the same time the slower one looks again.
pub(super) async fn approve(
    seat: &NamespaceClient,
    approvals: &[Approval],
    effect: Effect,
) -> Result<Vec<ApprovalEntry>, ClusterError> {
    for _ in 0..ATTEMPTS {
        if let Some(entered) = attempt(seat, approvals, effect).await? {
            return Ok(entered);
        }
    }
    Err(ClusterError::Overtaken { attempts: ATTEMPTS })
}

/// One attempt; none: somebody else was faster.
async fn attempt(
    seat: &NamespaceClient,
    approvals: &[Approval],
    effect: Effect,
) -> Result<Option<Vec<ApprovalEntry>>, ClusterError> {
    let api: Api<ConfigMap> = Api::namespaced(seat.client.clone(), &seat.namespace);
    let act = |verb| ResourceRequest::on_config_map(verb, APPROVALS_CONFIG_MAP, &seat.namespace);
    let there = ask(act("get"), api.get_opt(APPROVALS_CONFIG_MAP)).await?;
    let is_there = there.is_some();
    let mut map = there.unwrap_or_else(empty);
    let merged =
        merge(map.data.take().unwrap_or_default(), approvals).map_err(ClusterError::Yaml)?;
    if !merged.entered.contains(&ApprovalEntry::New) {
        return Ok(Some(merged.entered));
    }
    map.data = Some(merged.data);
    let params = PostParams {
        // The API server judges rights and admission all the same, so that a trial says what the act would meet.
        dry_run: effect == Effect::Trial,
        field_manager: Some(CTL_FIELD_MANAGER.to_owned()),
    };
    let written = if is_there {
        let replacing = api.replace(APPROVALS_CONFIG_MAP, &params, &map);
        ask(act("update"), replacing).await
    } else {
        ask(act("create"), api.create(&params, &map)).await
    };
    match written {
        Ok(_) => Ok(Some(merged.entered)),
        // Another version, one that came meanwhile, or one that went meanwhile.
        Err(error) if matches!(error.code(), Some(409)) => Ok(None),
        Err(error) if is_there && error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

fn empty() -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(APPROVALS_CONFIG_MAP.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postern_compile::gate::{Approval, ApprovalCause, ApprovalSubject, read_entries};
    use serde_json::{Value, json};

    use super::{MergedApprovals, approve, merge};
    use crate::approval::{ApprovalEntry, Effect};
    use crate::cluster::ClusterError;
    use crate::cluster::answering::{answering, failure};

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn of(subject: ApprovalSubject) -> Approval {
        Approval {
            subject,
            cause: ApprovalCause::Restored,
            digest: DIGEST.to_owned(),
        }
    }

    fn node(name: &str) -> Approval {
        of(ApprovalSubject::Node(name.parse().expect("a name")))
    }

    fn merged(data: &BTreeMap<String, String>, approvals: &[Approval]) -> MergedApprovals {
        merge(data.clone(), approvals).expect("YAML")
    }

    #[test]
    fn an_approval_becomes_an_entry_that_the_operator_reads_as_the_same_approval() {
        let policy = of(ApprovalSubject::Policy("shop/crawler".to_owned()));
        let all = [node("n1.example.com"), policy];
        let MergedApprovals { data, entered } = merged(&BTreeMap::new(), &all);
        assert_eq!(entered, [ApprovalEntry::New, ApprovalEntry::New]);
        let keys: Vec<&str> = data.keys().map(String::as_str).collect();
        let expected = [
            "node.n1.example.com.0123456789ab",
            "policy.shop.crawler.0123456789ab",
        ];
        assert_eq!(keys, expected);
        let read: Vec<Approval> = read_entries(&data)
            .map(|(_, approval)| approval.expect("an approval"))
            .collect();
        assert_eq!(read, all);
    }

    #[test]
    fn approving_the_same_again_changes_nothing_whatever_its_entry_is_called() {
        let yaml = format!("subject: {{node: n1}}\ncause: Restored\ndigest: {DIGEST}\n");
        let before: BTreeMap<String, String> = [("by-hand".to_owned(), yaml)].into();
        let MergedApprovals { data, entered } = merged(&before, &[node("n1")]);
        assert_eq!((data, entered), (before, vec![ApprovalEntry::Already]));
    }

    #[test]
    fn what_others_wrote_stays_as_it_was() {
        let before: BTreeMap<String, String> = [
            ("node.n1.0123456789ab".to_owned(), "yes please".to_owned()),
            ("z".to_owned(), "subject: {node: n2}".to_owned()),
        ]
        .into();
        let MergedApprovals { data, entered } = merged(&before, &[node("n1")]);
        assert_eq!(entered, [ApprovalEntry::New]);
        assert!(before.iter().all(|(key, text)| data.get(key) == Some(text)));
        assert!(data.contains_key(&format!("node.n1.{DIGEST}")), "{data:?}");
    }

    #[test]
    fn an_entry_has_a_name_that_an_api_server_takes() {
        let long = format!("{}/{}", "n".repeat(63), "p".repeat(253));
        for name in [long.as_str(), "a/b c$ü"] {
            let approval = of(ApprovalSubject::Policy(name.to_owned()));
            let MergedApprovals { data, .. } = merged(&BTreeMap::new(), &[approval]);
            let key = data.keys().next().expect("an entry");
            assert!(key.len() <= 253, "{key}");
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            assert!(key.bytes().all(allowed), "{key}");
            assert!(key.ends_with(".0123456789ab"), "{key}");
        }
    }

    fn map(version: &str, data: &Value) -> (u16, Value) {
        let metadata = json!({"name": "postern-approvals", "resourceVersion": version});
        (200, json!({"metadata": metadata, "data": data}))
    }

    const MAPS: &str = "/api/v1/namespaces/postern-system/configmaps";

    #[tokio::test]
    async fn of_two_who_approve_at_the_same_time_neither_overwrites_the_other() {
        let (seat, asked) = answering(vec![
            map("7", &json!({})),
            failure(409, "Conflict"),
            map("8", &json!({"other": "somebody else's"})),
            map("9", &json!({})),
        ]);
        let done = approve(&seat, &[node("n1")], Effect::Written).await;
        assert_eq!(done.expect("an approval"), [ApprovalEntry::New]);
        let asked = asked.lock().expect("a list");
        let written = &asked[3];
        let path = format!("PUT {MAPS}/postern-approvals?&fieldManager=posternctl");
        assert_eq!(written.0, path);
        assert_eq!(written.1["metadata"]["resourceVersion"], "8");
        assert_eq!(written.1["data"]["other"], "somebody else's");
        assert!(written.1["data"]["node.n1.0123456789ab"].is_string());
    }

    #[tokio::test]
    async fn a_trial_writes_nothing_and_is_judged_all_the_same() {
        let (seat, asked) = answering(vec![failure(404, "NotFound"), failure(403, "Forbidden")]);
        let refused = approve(&seat, &[node("n1")], Effect::Trial).await;
        let Err(ClusterError::Forbidden { act, .. }) = refused else {
            panic!("a missing right, not {refused:?}");
        };
        assert_eq!(
            act.to_string(),
            "create configmaps in namespace postern-system"
        );
        let asked = asked.lock().expect("a list");
        let path = format!("POST {MAPS}?&dryRun=All&fieldManager=posternctl");
        assert_eq!(asked[1].0, path);
    }

    #[tokio::test]
    async fn whoever_is_always_overtaken_is_told_that_nothing_was_approved() {
        let turn = [map("7", &json!({})), failure(409, "Conflict")];
        let (seat, _) = answering(turn.iter().cycle().take(10).cloned().collect());
        let lost = approve(&seat, &[node("n1")], Effect::Written).await;
        assert!(
            matches!(lost, Err(ClusterError::Overtaken { attempts: 5 })),
            "{lost:?}"
        );
    }
}
