//! What plugin and agent say to each other: one JSON request line, one JSON response line, one
//! exchange a connection.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// How long the plugin waits for its answer. The agent waits at most 2 s for a pod's class; the kubelet gives up after
/// minutes.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A request, told apart by its `verb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb")]
pub enum Request {
    /// A pod's interface was made; the pod starts when this is answered with [`CniResponse::Done`].
    #[serde(rename = "cni-add")]
    Add(Add),
    /// Is the binding still what ADD made?
    #[serde(rename = "cni-check")]
    Check(CheckRequest),
    #[serde(rename = "cni-del")]
    Del(Attachment),
    /// Every container that is not named is gone.
    #[serde(rename = "cni-gc")]
    Gc(Gc),
    /// Could an ADD be honoured now?
    #[serde(rename = "cni-status")]
    Status,
}

/// Which pod has which addresses behind which host interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    pub container_id: String,
    /// The interface's name inside the pod.
    pub ifname: String,
    /// Path of the pod's network namespace.
    pub netns: String,
    /// The pod's Kubernetes namespace.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The pod's addresses of both families, at least one.
    pub addresses: Vec<IpAddr>,
    /// The host's end of the pod's interface, where the previous plugin names it.
    pub host_interface: Option<String>,
    /// The MAC address of the pod's interface, where the previous plugin names it.
    pub mac: Option<String>,
}

/// What CHECK asks to be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckRequest {
    pub container_id: String,
    /// The interface's name inside the pod.
    pub ifname: String,
    /// The addresses that ADD was given.
    pub addresses: Vec<IpAddr>,
}

/// One interface of one container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    pub container_id: String,
    /// The interface's name inside the pod.
    pub ifname: String,
}

/// The containers that still exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gc {
    /// Containers of this network; bindings of all others may go.
    pub valid_container_ids: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "ResponseLine", try_from = "ResponseLine")]
pub enum CniResponse {
    /// It is done, or it is so.
    Done,
    Refused(CniRefusal),
}

/// Why the agent did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniRefusal {
    /// An error code of the CNI specification, for example 11 (try again later).
    pub code: u32,
    /// One word for programs, for example `NotSealed`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// The response as it stands on the wire: `{"ok":true}` or `{"ok":false,"code":..,..}`. Fields
/// that are not known are ignored, so that the agent may say more.
#[derive(Clone, Serialize, Deserialize)]
struct ResponseLine {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A refusal without a code or a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a refusal needs code, reason and message")]
pub struct IncompleteRefusal;

impl From<CniResponse> for ResponseLine {
    fn from(response: CniResponse) -> Self {
        match response {
            CniResponse::Done => Self {
                ok: true,
                code: None,
                reason: None,
                message: None,
            },
            CniResponse::Refused(CniRefusal {
                code,
                reason,
                message,
            }) => Self {
                ok: false,
                code: Some(code),
                reason: Some(reason),
                message: Some(message),
            },
        }
    }
}

impl TryFrom<ResponseLine> for CniResponse {
    type Error = IncompleteRefusal;

    fn try_from(line: ResponseLine) -> Result<Self, IncompleteRefusal> {
        match line {
            ResponseLine { ok: true, .. } => Ok(Self::Done),
            ResponseLine {
                ok: false,
                code: Some(code),
                reason: Some(reason),
                message: Some(message),
            } => Ok(Self::Refused(CniRefusal {
                code,
                reason,
                message,
            })),
            ResponseLine { ok: false, .. } => Err(IncompleteRefusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stand_on_the_wire_under_their_verbs() {
        let status = serde_json::to_string(&Request::Status).unwrap();
        assert_eq!(status, r#"{"verb":"cni-status"}"#);
        let del = Request::Del(Attachment {
            container_id: "c1".to_owned(),
            ifname: "eth0".to_owned(),
        });
        let text = serde_json::to_string(&del).unwrap();
        assert_eq!(
            text,
            r#"{"verb":"cni-del","containerId":"c1","ifname":"eth0"}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), del);
    }

    #[test]
    fn responses_stand_on_the_wire_with_their_reason_and_may_say_more() {
        let refused = CniResponse::Refused(CniRefusal {
            code: 11,
            reason: "NotSealed".to_owned(),
            message: "the guard is not in place".to_owned(),
        });
        let text =
            r#"{"ok":false,"code":11,"reason":"NotSealed","message":"the guard is not in place"}"#;
        assert_eq!(serde_json::to_string(&refused).unwrap(), text);
        assert_eq!(serde_json::from_str::<CniResponse>(text).unwrap(), refused);
        let more = r#"{"ok":true,"class":"held"}"#;
        assert_eq!(
            serde_json::from_str::<CniResponse>(more).unwrap(),
            CniResponse::Done
        );
        assert!(serde_json::from_str::<CniResponse>(r#"{"ok":false}"#).is_err());
    }
}
