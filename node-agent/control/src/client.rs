//! The command line's end of the agent's socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::dns_check::{DnsCheck, DnsVerdict};
use crate::protocol::{ControlAnswer, ControlRequest};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ControlError {
    #[error("no agent answers on {path}; is it running on this node?")]
    Connect {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the connection to the agent broke")]
    Broken(#[source] std::io::Error),
    /// The answer is not understood.
    #[error("the agent's answer is not understood")]
    Answer(#[source] serde_json::Error),
    /// The agent does not do it.
    #[error("the agent refuses, {reason}: {message}")]
    Refused { reason: String, message: String },
}

/// Asks one question.
///
/// # Errors
/// [`ControlError`].
pub fn ask(run_dir: &Path, question: &ControlRequest) -> Result<ControlAnswer, ControlError> {
    let path = run_dir.join("agent.sock");
    let mut stream =
        UnixStream::connect(&path).map_err(|source| ControlError::Connect { path, source })?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .map_err(ControlError::Broken)?;
    let mut line = serde_json::to_string(question).map_err(ControlError::Answer)?;
    line.push('\n');
    stream
        .write_all(line.as_bytes())
        .map_err(ControlError::Broken)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(ControlError::Broken)?;
    serde_json::from_str(&answer).map_err(ControlError::Answer)
}

/// Asks for something that is in the answer.
///
/// # Errors
/// [`ControlError`].
pub fn ask_for<T: DeserializeOwned>(
    run_dir: &Path,
    question: &ControlRequest,
) -> Result<T, ControlError> {
    let answer = ask(run_dir, question)?;
    if !answer.ok {
        return Err(ControlError::Refused {
            reason: answer.reason.unwrap_or_default(),
            message: answer.message.unwrap_or_default(),
        });
    }
    serde_json::from_value(answer.status.unwrap_or_default()).map_err(ControlError::Answer)
}

/// Measures what the DNS filter costs, by the agent of this node.
///
/// # Errors
/// [`ControlError`].
pub fn measure_dns(
    run_dir: &Path,
    check: DnsCheck,
    bound: Duration,
) -> Result<DnsVerdict, ControlError> {
    let report = ask_for(run_dir, &ControlRequest::DnsCheck(check))?;
    Ok(DnsVerdict::of(report, bound))
}
