//! `postern-operator ask`: what a probe runs in the pod. The kubelet's own HTTP probes need to know the port, and of replicas
//! that share a host's network each has another one.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::options::AskArguments;

/// How long an operator may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no page.
#[derive(Debug, Error)]
pub enum AskError {
    /// The operator has not written its address, or another process wrote something else.
    #[error("{} names no address", path.display())]
    Address {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{address} does not answer")]
    Silent {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{page}: {answer}")]
    Refused { page: String, answer: String },
}

/// Asks for a page and answers its body.
///
/// # Errors
/// [`AskError`].
pub fn ask(arguments: &AskArguments) -> Result<String, AskError> {
    let path = &arguments.listen_file;
    let failed = |source| AskError::Address {
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let address: SocketAddr = text
        .trim()
        .parse()
        .map_err(|error| failed(io::Error::other(error)))?;
    let page = &arguments.page;
    let answer = get(address, page).map_err(|source| AskError::Silent { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    Err(AskError::Refused {
        page: page.clone(),
        answer: format!("{status}: {}", body.trim()),
    })
}

/// HTTP/1.0, so that the answer ends with the connection.
fn get(address: SocketAddr, page: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // One write: `write!` on a socket is a segment for each piece of the format.
    stream.write_all(format!("GET {page} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::ask;
    use crate::options::AskArguments;

    /// What a server that gives this answer to one request makes of the probe.
    fn probe(answer: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let listen_file = folder.path().join("listen");
        let address = listener.local_addr().expect("an address");
        std::fs::write(&listen_file, address.to_string()).expect("a file");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a probe");
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            let asked: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
            stream.write_all(answer.as_bytes()).expect("an answer");
            asked.join("\n")
        });
        let page = "/readyz".to_owned();
        let found = ask(&AskArguments { listen_file, page });
        let asked = server.join().expect("a server");
        assert!(asked.starts_with("GET /readyz HTTP/1.0\n"), "{asked}");
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn a_page_is_answered_and_a_refusal_fails_with_its_reason() {
        assert_eq!(probe("HTTP/1.0 200 OK\r\n\r\nok\n"), Ok("ok\n".to_owned()));
        let refused = probe("HTTP/1.0 503 Service Unavailable\r\n\r\nnot ready: no key\n");
        let refused = refused.expect_err("a refusal");
        assert!(
            refused.contains("503") && refused.contains("no key"),
            "{refused}"
        );
    }

    #[test]
    fn an_operator_that_has_not_written_its_address_does_not_answer() {
        let arguments = AskArguments {
            listen_file: "/nonexistent/listen".into(),
            page: "/healthz".to_owned(),
        };
        let error = ask(&arguments).expect_err("no address");
        assert!(error.to_string().contains("/nonexistent/listen"), "{error}");
    }
}
