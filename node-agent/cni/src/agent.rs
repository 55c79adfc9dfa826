//! The conversation with the agent.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc,
    thread,
};

use crate::{
    CniError,
    protocol::{CniResponse, PATIENCE, Request},
};

const LONGEST_ANSWER: u64 = 64 * 1024;

/// Asks the agent and gives its answer.
///
/// The exchange has a thread of its own: a connection attempt to a socket whose queue is full
/// blocks without a time-out that could be set before it.
pub(crate) fn ask(socket: &Path, request: &Request) -> Result<CniResponse, CniError> {
    let away = |source| CniError::AgentAway {
        path: socket.to_path_buf(),
        source,
    };
    let line = serde_json::to_string(request).map_err(|error| away(error.into()))?;
    let path = socket.to_path_buf();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // The receiver is gone when the time is up; nobody is left to be told then.
        let _ = sender.send(exchange(&path, &line));
    });
    let answer = receiver
        .recv_timeout(PATIENCE)
        .map_err(|_| away(io::ErrorKind::TimedOut.into()))?
        .map_err(away)?;
    serde_json::from_str(&answer).map_err(|source| CniError::Answer { source })
}

fn exchange(path: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut answer)?;
    if answer.ends_with('\n') {
        Ok(answer)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
