//! The state transition audit log: one JSON line for every transition, refusal and release, and for every body that is
//! accepted and applied. A line that concerns a body names it by serial, digest and the trace that led to it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_intent::{Body, Verified};
use serde::Serialize;
use thiserror::Error;

/// The log cannot be kept.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error("cannot open the audit log {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    pub time: Timestamp,
    /// What kind of line: `intent`, `transition`, `names`, `refusal`, `release`, `repair`, `keys`, `node`, `clock`, `start`, `stop`.
    pub kind: &'static str,
    /// The scope, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What happened, in one word.
    pub event: &'a str,
    /// The serial of the document in question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<&'a str>,
    /// The serial of the cluster document that it is joined with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_serial: Option<u64>,
    /// The trace that led here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: &'a str,
}

impl<'a> Entry<'a> {
    /// A line about no scope and no body.
    #[must_use]
    pub const fn of(time: Timestamp, kind: &'static str, event: &'a str, message: &'a str) -> Self {
        Self {
            time,
            kind,
            scope: None,
            from: None,
            to: None,
            event,
            serial: None,
            digest: None,
            cluster_serial: None,
            trace_id: None,
            message,
        }
    }

    /// The same line about a body, if there is one.
    #[must_use]
    pub fn about(self, body: Option<&'a Verified<Body>>) -> Self {
        Self {
            serial: body.map(|body| body.get().serial.0),
            digest: body.map(Verified::digest),
            cluster_serial: body.map(|body| body.get().cluster_serial.0),
            trace_id: body.and_then(|body| body.get().trace_id.as_deref()),
            ..self
        }
    }
}

/// The log: a file where one was named, and the process log always.
#[derive(Debug, Default)]
pub struct AuditTrail {
    file: Option<File>,
}

impl AuditTrail {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// [`AuditError::Open`].
    pub fn open(path: Option<&Path>) -> Result<Self, AuditError> {
        let open = |path: &Path| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|source| AuditError::Open {
                    path: path.to_owned(),
                    source,
                })
        };
        Ok(Self {
            file: path.map(open).transpose()?,
        })
    }

    pub fn write(&mut self, entry: &Entry<'_>) {
        let Ok(mut line) = serde_json::to_string(entry) else {
            return;
        };
        tracing::info!(target: "postern::audit", "{line}");
        line.push('\n');
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(line.as_bytes())
        {
            // The audit log is evidence and not enforcement: losing a line must not stop the guard.
            tracing::error!(%error, "an audit line could not be written");
        }
    }
}
