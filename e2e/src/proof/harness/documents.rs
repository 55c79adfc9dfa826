//! Signed documents that a test makes, and what an agent reports about them: report, audit log, metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use postern_intent::envelope::unpack;
use postern_intent::{ClusterDocument, DsseEnvelope, NodeDocument};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lab::LabError;
use crate::lab::{AGENT_METRICS, Lab};

impl Lab {
    /// The lab's signing key, which its agents trust.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn signing(&self) -> Result<SigningKey, LabError> {
        let path = self.signing_key();
        let pem = std::fs::read_to_string(&path).map_err(LabError::file("read", path))?;
        SigningKey::from_pkcs8_pem(&pem).map_err(|error| LabError::Key {
            why: error.to_string(),
        })
    }

    /// The intent in the folder of a node.
    ///
    /// # Errors
    /// When there is none that can be read.
    pub fn current_envelope(&self, node: &str) -> Result<DsseEnvelope, LabError> {
        let path = self.inbox_file(node, "intent.dsse.json");
        let bytes = std::fs::read(&path).map_err(LabError::file("read", path))?;
        serde_json::from_slice(&bytes).map_err(LabError::json("an envelope"))
    }

    /// The node's own document in the folder of a node.
    ///
    /// # Errors
    /// When there is none that can be read.
    pub fn current_body(&self, node: &str) -> Result<NodeDocument, LabError> {
        opened(&self.current_envelope(node)?, node)
    }

    /// The cluster document in the folder of a node.
    ///
    /// # Errors
    /// When there is none that can be read.
    pub fn current_cluster(&self, node: &str) -> Result<ClusterDocument, LabError> {
        let path = self.inbox_file(node, "cluster.dsse.json");
        let bytes = std::fs::read(&path).map_err(LabError::file("read", path))?;
        let envelope = serde_json::from_slice(&bytes).map_err(LabError::json("an envelope"))?;
        opened(&envelope, node)
    }

    /// Puts a document into a node's folder, in the publisher's place: stop that first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put<T: Serialize>(&self, node: &str, file: &str, document: &T) -> Result<(), LabError> {
        let text = serde_json::to_vec(document).map_err(LabError::json("a document"))?;
        self.write_atomically(&self.inbox_file(node, file), &text)
    }

    /// Takes a document out of a node's folder.
    ///
    /// # Errors
    /// When it is not there.
    pub fn take_away(&self, node: &str, file: &str) -> Result<(), LabError> {
        let path = self.inbox_file(node, file);
        std::fs::remove_file(&path).map_err(LabError::file("remove", path))
    }

    fn inbox_file(&self, node: &str, file: &str) -> PathBuf {
        self.intents(node).join(file)
    }

    /// Every line of an agent's audit log, in order.
    #[must_use]
    pub fn audit(&self, node: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.node_dir(node).join("audit.jsonl"));
        text.unwrap_or_default()
            .lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The states of the scopes of a node, in order: from, event, to.
    #[must_use]
    pub fn transitions(&self, node: &str) -> Vec<[String; 3]> {
        let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let lines = self.audit(node).into_iter();
        lines
            .filter(|line| line["kind"] == "transition")
            .map(|line| [word(&line, "from"), word(&line, "event"), word(&line, "to")])
            .collect()
    }

    /// A number of an agent's metrics, by name and labels as OpenMetrics has them, such as
    /// `postern_agent_refused_documents_total{reason="Expired"}`; 0 where it has not been counted yet.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn agent_metric(&self, node: &str, name: &str) -> Result<u64, LabError> {
        let page = self.node_namespace(node).run(|| {
            let failed = LabError::system(format!("ask {AGENT_METRICS}"));
            metrics().map_err(|error| {
                failed(nix::errno::Errno::from_raw(
                    error.raw_os_error().unwrap_or_default(),
                ))
            })
        })?;
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        // A ratio has a point; one that is a whole number is that number.
        let number = line.map(|value| value.trim().trim_end_matches(".0"));
        Ok(number.map_or(0, |value| value.parse().unwrap_or_default()))
    }
}

fn metrics() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(AGENT_METRICS)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: agent\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

fn opened<T: DeserializeOwned>(envelope: &DsseEnvelope, node: &str) -> Result<T, LabError> {
    let invalid = |why: &dyn std::fmt::Display| LabError::Invalid {
        what: "intent",
        value: node.to_owned(),
        why: why.to_string(),
    };
    let packed = envelope.payload_bytes().map_err(|error| invalid(&error))?;
    let json = unpack(&packed).map_err(|error| invalid(&error))?;
    serde_json::from_slice(&json).map_err(LabError::json("a document"))
}
