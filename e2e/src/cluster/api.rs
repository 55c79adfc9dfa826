//! The lab's own client of the API server: as its administrator, over front's admin socket.
//!
//! It is neither counted nor disturbed, and needs no network namespace, no TLS and no runtime.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::http::{self, Answer, Request};
use crate::lab::Lab;
use crate::lab::LabError;

const JSON: &str = "application/json";

/// How long an API server that has no time is asked again, and how often.
const STORE_DEADLINE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(500);

/// How a patch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// Server-side apply with the field manager `lab`, by force.
    Apply,
    /// Strategic merge: lists of conditions are merged by their type.
    Strategic,
}

/// A client of the API server.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The API server of this lab.
    #[must_use]
    pub fn of(lab: &Lab) -> Self {
        Self {
            socket: lab.plane_dir().join("admin.sock"),
        }
    }

    /// The object or list at this path (with a query), or nothing when there is none.
    ///
    /// # Errors
    /// `ApiRefused`, or when the API server does not answer.
    pub fn get(&self, path: &str) -> Result<Option<Value>, LabError> {
        match self.ask("GET", path, JSON, &Value::Null) {
            Err(LabError::ApiRefused { code: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Creates an object; `path` is its collection's. Answers it as it is stored.
    ///
    /// # Errors
    /// `ApiRefused` with the API server's message (code 409: it is there already).
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, LabError> {
        self.ask("POST", path, JSON, object)
    }

    /// Patches the object, or its status, at this path.
    pub fn patch(&self, path: &str, kind: PatchKind, patch: &Value) -> Result<Value, LabError> {
        match kind {
            PatchKind::Apply => {
                let path = format!("{path}?fieldManager=lab&force=true");
                self.ask("PATCH", &path, "application/apply-patch+yaml", patch)
            }
            PatchKind::Strategic => {
                let content = "application/strategic-merge-patch+json";
                self.ask("PATCH", path, content, patch)
            }
        }
    }

    /// Deletes the object at this path with these `DeleteOptions`; answers nothing when there is none.
    pub fn delete(&self, path: &str, options: &Value) -> Result<Option<Value>, LabError> {
        match self.ask("DELETE", path, JSON, options) {
            Err(LabError::ApiRefused { code: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether the API server reports that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let request = Request {
            method: "GET",
            path: "/readyz",
            content_type: JSON,
            body: &[],
        };
        http::exchange(&self.socket, &request).is_ok_and(|answer| answer.code == 200)
    }

    /// Watches a collection: one event per line, until the API server ends it.
    pub(super) fn watch(&self, path: &str) -> Result<BufReader<UnixStream>, LabError> {
        let request = Request {
            method: "GET",
            path,
            content_type: JSON,
            body: &[],
        };
        match http::begin(&self.socket, &request, None)? {
            (200, lines) => Ok(lines),
            (code, _) => Err(LabError::ApiRefused {
                act: format!("watch {path}"),
                code,
                message: String::new(),
            }),
        }
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, LabError> {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request {
            method,
            path,
            content_type,
            body: text.as_bytes(),
        };
        let answer = self.ask_until_the_store_is_ready(&request)?;
        let act = || format!("{} {}", method.to_lowercase(), path);
        if (200..300).contains(&answer.code) {
            let what = format!("the API server's answer to {}", act());
            return serde_json::from_slice(&answer.body).map_err(LabError::json(what));
        }
        Err(LabError::ApiRefused {
            act: act(),
            code: answer.code,
            message: message(&answer.body),
        })
    }

    /// Asks again for as long as the API server says 429, as its clients do: after a definition changes it says so
    /// until its store of that kind is there again.
    fn ask_until_the_store_is_ready(&self, request: &Request<'_>) -> Result<Answer, LabError> {
        let end = Instant::now() + STORE_DEADLINE;
        loop {
            let answer = http::exchange(&self.socket, request)?;
            if answer.code != 429 || Instant::now() >= end {
                return Ok(answer);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// The message of a `Status`, or the text of the answer when it is no `Status`.
fn message(body: &[u8]) -> String {
    let status: Option<Value> = serde_json::from_slice(body).ok();
    let message = status
        .as_ref()
        .and_then(|status| status.get("message")?.as_str());
    match message {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    }
}
