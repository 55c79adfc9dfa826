//! Telling front what to do, and asking it what it saw.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::http::{self, Request};
use crate::lab::Lab;
use crate::lab::LabError;

/// An answer in the API server's place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// 409 (writes only), 410 (lists and watches only), 429, 500 or 503.
    pub code: u16,
    /// The share of the requests that it could be an answer to: above 0, at most 1.
    pub rate: f64,
    /// Only for clients whose user agent begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Only for this verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// Only for this resource, `leases.coordination.k8s.io` or `nodereports.postern.dev/status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// What clients have asked since a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCounts {
    /// The start, or the last reset.
    pub since: Timestamp,
    /// One row per user agent, verb and resource.
    pub requests: Vec<RequestCount>,
}

/// What one kind of client has asked of one resource with one verb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCount {
    /// First word of the client's name.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, ...
    pub verb: String,
    /// `pods`, `pods/status`, `leases.coordination.k8s.io`; `/readyz` for what is no resource.
    pub resource: String,
    /// Requests that have begun.
    pub requests: u64,
    /// Those of them that have not ended.
    pub open: u64,
    /// Those that front answered itself.
    pub faults: u64,
    /// Pieces of watches' answers that were held back before they were handed on.
    pub delayed: u64,
    /// Answers by HTTP status.
    pub codes: BTreeMap<u16, u64>,
    /// Bytes of the requests' bodies, as sent.
    pub request_bytes: u64,
    /// Bytes of the answers' bodies, as sent; those of an open watch so far.
    pub response_bytes: u64,
}

/// A watch that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenWatch {
    pub address: String,
    pub user_agent: String,
    pub resource: String,
    /// When it was opened.
    pub since: Timestamp,
}

impl Lab {
    /// Lets this fault answer from now on, in place of the one before.
    ///
    /// # Errors
    /// `NeedsApiServer`, or `ApiRefused` when it is out of bounds.
    pub fn set_fault(&self, fault: &Fault) -> Result<(), LabError> {
        let body = serde_json::to_value(fault).map_err(LabError::json("a fault"))?;
        self.tell_front("PUT", "/fault", &body).map(drop)
    }

    /// Lets every request through again.
    ///
    /// # Errors
    /// `NeedsApiServer`, or when front does not answer.
    pub fn clear_fault(&self) -> Result<(), LabError> {
        self.tell_front("DELETE", "/fault", &Value::Null).map(drop)
    }

    /// What clients have asked; the lab's own questions are not among it.
    pub fn requests(&self) -> Result<RequestCounts, LabError> {
        let counts = self.tell_front("GET", "/requests", &Value::Null)?;
        serde_json::from_value(counts).map_err(LabError::json("front's counts"))
    }

    /// Sets the counts to 0.
    pub fn reset_requests(&self) -> Result<(), LabError> {
        self.tell_front("DELETE", "/requests", &Value::Null)
            .map(drop)
    }

    /// The watches that clients have open.
    pub fn watches(&self) -> Result<Vec<OpenWatch>, LabError> {
        let watches = self.tell_front("GET", "/watches", &Value::Null)?;
        serde_json::from_value(watches).map_err(LabError::json("front's watches"))
    }

    /// Breaks the watches of everything that runs in a node's namespace; answers how many there were.
    ///
    /// # Errors
    /// `NoNode`, and as [`Lab::clear_fault`].
    pub fn cut_watches(&self, node: &str) -> Result<u64, LabError> {
        let addresses = self.node(node)?.addresses();
        self.cut(&json!({ "addresses": addresses }))
    }

    /// Breaks the watches of every client whose user agent begins so, wherever it runs; answers how many there were.
    ///
    /// # Errors
    /// `ApiRefused` for an empty word, and as [`Lab::clear_fault`].
    pub fn cut_watches_of(&self, user_agent: &str) -> Result<u64, LabError> {
        self.cut(&json!({ "userAgent": user_agent }))
    }

    fn cut(&self, whose: &Value) -> Result<u64, LabError> {
        #[derive(Deserialize)]
        struct Answer {
            cut: u64,
        }
        let answer = self.tell_front("POST", "/watches/cut", whose)?;
        let answer: Answer =
            serde_json::from_value(answer).map_err(LabError::json("front's answer"))?;
        Ok(answer.cut)
    }

    /// Holds each event of every watch back so long; zero ends that.
    pub fn delay_watches(&self, delay: Duration) -> Result<(), LabError> {
        let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let body = json!({ "milliseconds": milliseconds });
        self.tell_front("PUT", "/watches/delay", &body).map(drop)
    }

    /// Lets clients connect to the API server's address, or refuses them.
    pub(super) fn listen_front(&self, state: Listen) -> Result<(), LabError> {
        let body = json!({"open": state == Listen::Open});
        self.tell_front("POST", "/listen", &body).map(drop)
    }

    fn tell_front(&self, method: &str, path: &str, body: &Value) -> Result<Value, LabError> {
        self.needs_api_server("this verb")?;
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let socket = self.plane_dir().join("control.sock");
        let request = Request {
            method,
            path,
            content_type: "application/json",
            body: text.as_bytes(),
        };
        let answer = http::exchange(&socket, &request)?;
        if answer.code == 200 {
            return serde_json::from_slice(&answer.body).map_err(LabError::json("front's answer"));
        }
        Err(LabError::ApiRefused {
            act: format!("{} {path} of front", method.to_lowercase()),
            code: answer.code,
            message: String::from_utf8_lossy(&answer.body).trim().to_owned(),
        })
    }
}

/// Whether clients can connect to front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    Open,
    /// Connections are refused, as those to a machine without an API server.
    Closed,
}
