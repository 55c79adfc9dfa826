//! Plain HTTP over a unix socket, as much of it as the lab's own questions need (RFC 9112).
//!
//! Requests are HTTP/1.0: the answer then comes without chunks and ends with the connection, so that a watch is a
//! sequence of lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::lab::LabError;

/// How long an answer may take. A watch has no such bound.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
}

/// An answer that is whole.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: Vec<u8>,
}

/// Asks and waits for the whole answer.
pub(super) fn exchange(socket: &Path, request: &Request<'_>) -> Result<Answer, LabError> {
    let (code, mut rest) = begin(socket, request, Some(DEADLINE))?;
    let mut body = Vec::new();
    rest.read_to_end(&mut body)
        .map_err(LabError::file("read an answer from", socket))?;
    Ok(Answer { code, body })
}

/// Asks, and answers the status and what is still to be read.
pub(super) fn begin(
    socket: &Path,
    request: &Request<'_>,
    deadline: Option<Duration>,
) -> Result<(u16, BufReader<UnixStream>), LabError> {
    let stream = UnixStream::connect(socket).map_err(LabError::file("connect to", socket))?;
    stream
        .set_read_timeout(deadline)
        .map_err(LabError::file("bound the wait for", socket))?;
    let head = format!(
        "{} {} HTTP/1.0\r\nHost: lab\r\nUser-Agent: postern-lab\r\nAccept: application/json\r\n\
         Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
        request.method,
        request.path,
        request.content_type,
        request.body.len()
    );
    let mut writer = &stream;
    writer
        .write_all(head.as_bytes())
        .and_then(|()| writer.write_all(request.body))
        .map_err(LabError::file("write to", socket))?;
    let mut reader = BufReader::new(stream);
    let code = read_head(&mut reader).map_err(LabError::file("read an answer from", socket))?;
    Ok((code, reader))
}

/// Reads the status line and the fields up to the empty line; answers the status.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<u16> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
    }
    code.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "no HTTP status line"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::read_head;

    #[test]
    fn the_body_begins_behind_the_empty_line() {
        let mut text: &[u8] = b"HTTP/1.0 201 Created\r\nContent-Type: text/plain\r\n\r\nbody\r\n";
        assert_eq!(read_head(&mut text).unwrap(), 201);
        let mut body = String::new();
        text.read_to_string(&mut body).unwrap();
        assert_eq!(body, "body\r\n");
    }

    #[test]
    fn an_answer_that_is_no_http_is_refused() {
        assert!(read_head(&mut &b"nonsense"[..]).is_err());
        assert!(read_head(&mut &b""[..]).is_err());
    }
}
