//! `posternctl verify`: what a node would say to a document.

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use postern_intent::body::NodeIdentity;
use postern_intent::envelope::unpack;
use postern_intent::verify::{
    RefusalRecord, VerifyContext, parse_envelope, verify_cluster, verify_intent, verify_key_set,
    verify_release,
};
use postern_intent::{DocumentRefusal, DsseEnvelope, NodeName, TrustedKeys, Uid};
use serde::{Deserialize, Serialize};

use super::{VerbAnswer, VerbEnd, VerbError};
use crate::files::FilesError;
use crate::keys::read_trusted_keys;
use crate::output::{Format, TableOutput, render};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The envelope.
    envelope: PathBuf,
    /// Public keys (PEM) that the node trusts.
    #[arg(long, required = true)]
    trust: Vec<PathBuf>,
    /// What the document is.
    #[arg(long, value_enum, default_value_t = PayloadKind::Intent)]
    kind: PayloadKind,
    /// The node's name; default: the one that the document names.
    #[arg(long)]
    node_name: Option<NodeName>,
    /// The node's UID; default: the one that the document names.
    #[arg(long)]
    node_uid: Option<Uid>,
    /// The time that counts as now (RFC 3339); default: the clock.
    #[arg(long)]
    now: Option<Timestamp>,
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PayloadKind {
    /// What one node is to do.
    Intent,
    /// The facts that all nodes share.
    Cluster,
    /// Let one node go.
    Release,
    /// Change the trusted keys.
    Keyset,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalRecord>,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let keys = read_trusted_keys(&arguments.trust)?;
    let json = fs::read(&arguments.envelope).map_err(|source| FilesError::Read {
        path: arguments.envelope.clone(),
        source,
    })?;
    let verification =
        match parse_envelope(&json).and_then(|envelope| verify(arguments, &envelope, &keys)) {
            Ok(digest) => Verification {
                accepted: true,
                digest: Some(digest),
                refusal: None,
            },
            Err(refusal) => Verification {
                accepted: false,
                digest: None,
                refusal: Some((&refusal).into()),
            },
        };
    let end = if verification.accepted {
        VerbEnd::Well
    } else {
        VerbEnd::Refused
    };
    Ok(VerbAnswer {
        text: render(&verification, format)?,
        end,
    })
}

fn verify(
    arguments: &Arguments,
    envelope: &DsseEnvelope,
    keys: &TrustedKeys,
) -> Result<String, DocumentRefusal> {
    if arguments.kind == PayloadKind::Keyset {
        return verify_key_set(envelope, keys).map(|verified| verified.digest().to_owned());
    }
    let now = arguments.now.unwrap_or_else(Timestamp::now);
    if arguments.kind == PayloadKind::Cluster {
        let verified = verify_cluster(envelope, keys, now, None)?;
        return Ok(verified.digest().to_owned());
    }
    let node = addressee(arguments, envelope)?;
    let context = VerifyContext {
        node: &node,
        keys,
        now,
        last: None,
    };
    match arguments.kind {
        PayloadKind::Intent => {
            verify_intent(envelope, &context).map(|verified| verified.digest().to_owned())
        }
        PayloadKind::Release | PayloadKind::Keyset | PayloadKind::Cluster => {
            verify_release(envelope, &context).map(|verified| verified.digest().to_owned())
        }
    }
}

/// The node that is asked for, else the one that the document names: then only its signature and times are judged.
fn addressee(
    arguments: &Arguments,
    envelope: &DsseEnvelope,
) -> Result<NodeIdentity, DocumentRefusal> {
    #[derive(Deserialize)]
    struct Addressed {
        node: NodeIdentity,
    }
    let bytes = envelope.payload_bytes().map_err(DocumentRefusal::Payload)?;
    let json = unpack(&bytes).unwrap_or(bytes);
    let named = serde_json::from_slice::<Addressed>(&json)
        .map_err(DocumentRefusal::NotUnderstood)?
        .node;
    Ok(NodeIdentity {
        name: arguments.node_name.clone().unwrap_or(named.name),
        uid: arguments.node_uid.clone().unwrap_or(named.uid),
    })
}

impl TableOutput for Verification {
    fn table(&self) -> String {
        match (&self.digest, &self.refusal) {
            (Some(digest), _) => format!("accepted, digest {digest}"),
            (None, Some(refusal)) => format!("refused, {}: {}", refusal.reason, refusal.message),
            (None, None) => "refused".to_owned(),
        }
    }
}
