//! The agent's token, read without verifying it: it is our own, and the API server verifies it with every request.
//!
//! A token that is bound to a pod names the node of the pod, by name and UID (KEP-4193, claim `kubernetes.io.node`).
//! The UID tells a node from an older one of the same name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_intent::{NodeName, Uid};
use serde::Deserialize;
use thiserror::Error;

/// Why a token does not say which node this is.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It is no JWT: three parts with dots between them (RFC 7519).
    #[error("the token is no JWT")]
    Shape,
    /// Its middle part is no base64url.
    #[error("the token's claims are not base64url")]
    Encoding(#[source] base64::DecodeError),
    /// Its claims are no JSON of the expected kind.
    #[error("the token's claims are not understood")]
    Claims(#[source] serde_json::Error),
    /// It names no node.
    #[error(
        "the token names no node: give --node-uid, or a token bound to a pod that has a node (a projected \
         serviceAccountToken of Kubernetes 1.32 or later)"
    )]
    NoNode,
    /// It is for another node than the one that was given on the command line.
    #[error(
        "the token is for node {claimed}, and --node-name says {own}: give the name from the pod's spec.nodeName"
    )]
    OtherNode { claimed: String, own: NodeName },
    /// The UID is not one.
    #[error("the token's node UID {found:?} is no UID")]
    Uid { found: String },
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Bound>,
}

#[derive(Deserialize)]
struct Bound {
    node: Option<BoundNode>,
}

#[derive(Deserialize)]
struct BoundNode {
    name: String,
    uid: Option<String>,
}

/// The UID of the node that the token is bound to.
///
/// # Errors
/// [`TokenError`]; a token that names another node than `own` is refused.
pub fn node_uid(token: &str, own: &NodeName) -> Result<Uid, TokenError> {
    let mut parts = token.trim().split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Shape);
    };
    let json = URL_SAFE_NO_PAD
        .decode(claims.trim_end_matches('='))
        .map_err(TokenError::Encoding)?;
    let claims: Claims = serde_json::from_slice(&json).map_err(TokenError::Claims)?;
    let node = claims
        .kubernetes
        .and_then(|bound| bound.node)
        .ok_or(TokenError::NoNode)?;
    if node.name != own.as_str() {
        return Err(TokenError::OtherNode {
            claimed: node.name,
            own: own.clone(),
        });
    }
    let uid = node.uid.ok_or(TokenError::NoNode)?;
    uid.parse().map_err(|_| TokenError::Uid { found: uid })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token(claims: &Value) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn node() -> NodeName {
        "n1".parse().unwrap()
    }

    fn bound(name: &str, uid: &str) -> Value {
        json!({"sub": "system:serviceaccount:postern-system:postern-agent",
            "kubernetes.io": {"namespace": "postern-system", "node": {"name": name, "uid": uid},
                "pod": {"name": "p", "uid": "u"}}})
    }

    #[test]
    fn a_token_bound_to_a_pod_says_the_uid_of_its_node() {
        let text = token(&bound("n1", "1b4db7eb-4057-4ddf-91e0-36dec72071f5")) + "\n";
        let uid = node_uid(&text, &node()).unwrap();
        assert_eq!(uid.as_str(), "1b4db7eb-4057-4ddf-91e0-36dec72071f5");
    }

    #[test]
    fn padding_and_the_url_alphabet_are_read() {
        // The claims are chosen so that their base64 has `-`, `_` and padding.
        let claims = bound("n1", "u1")
            .to_string()
            .replace("\"p\"", "\"~~??>>~~\"");
        let padded = base64::engine::general_purpose::URL_SAFE.encode(claims);
        assert!(padded.contains(['-', '_']), "{padded}");
        let uid = node_uid(&format!("e30.{padded}.sig"), &node()).unwrap();
        assert_eq!(uid.as_str(), "u1");
    }

    #[test]
    fn a_token_of_an_older_node_of_the_same_name_has_another_uid() {
        let older = node_uid(&token(&bound("n1", "older")), &node()).unwrap();
        let newer = node_uid(&token(&bound("n1", "newer")), &node()).unwrap();
        assert_ne!(older, newer);
    }

    #[test]
    fn a_token_without_a_node_says_what_to_do() {
        for claims in [
            json!({"sub": "somebody"}),
            json!({"kubernetes.io": {"namespace": "x"}}),
            json!({"kubernetes.io": {"node": {"name": "n1"}}}),
        ] {
            let error = node_uid(&token(&claims), &node()).unwrap_err();
            assert!(matches!(error, TokenError::NoNode), "{claims}: {error}");
            assert!(error.to_string().contains("--node-uid"), "{error}");
        }
    }

    #[test]
    fn the_token_of_another_node_is_not_taken() {
        let error = node_uid(&token(&bound("n2", "u2")), &node()).unwrap_err();
        assert!(matches!(error, TokenError::OtherNode { claimed, .. } if claimed == "n2"));
    }

    #[test]
    fn what_is_no_token_is_told_apart() {
        let error = |text: &str| node_uid(text, &node()).unwrap_err();
        assert!(matches!(error(""), TokenError::Shape));
        assert!(matches!(error("a.b"), TokenError::Shape));
        assert!(matches!(error("a.b.c.d"), TokenError::Shape));
        assert!(matches!(error("a.!!.c"), TokenError::Encoding(_)));
        assert!(matches!(error("a.e30x.c"), TokenError::Claims(_)));
        let bad = token(&bound("n1", "not a uid"));
        assert!(matches!(error(&bad), TokenError::Uid { .. }));
    }
}
