//! The agent's end of the socket. Connections are read here; what they ask is done by the one task that owns the
//! agent.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_cni::protocol as cni;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::{ControlAnswer, ControlRequest};

/// The longest request, in bytes.
const REQUEST_LIMIT: u64 = 64 * 1024;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// When the plugin hears that the agent is busy: before it takes the agent for away.
const BUSY_AFTER: Duration = cni::PATIENCE.saturating_sub(Duration::from_secs(1));
/// Error code of the CNI specification, "Error": the runtime is to try again later.
const TRY_AGAIN_LATER: u32 = 11;

/// Why the socket cannot be served.
#[derive(Debug, Error)]
pub enum SocketError {
    /// An old socket is in the way.
    #[error("cannot remove the old socket {path}")]
    Stale {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It cannot be bound.
    #[error("cannot bind {path}")]
    Bind {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Work for the agent, with the way back.
#[derive(Debug)]
pub enum Work {
    Cni(cni::Request, oneshot::Sender<cni::CniResponse>),
    Ask(ControlRequest, oneshot::Sender<ControlAnswer>),
}

/// Binds the socket, open to its owner and group.
///
/// # Errors
/// [`SocketError`].
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(SocketError::Stale {
                path: path.to_owned(),
                source,
            });
        }
        _ => {}
    }
    let failed = |source| SocketError::Bind {
        path: path.to_owned(),
        source,
    };
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

/// Accepts until the agent is gone.
pub async fn serve(listener: UnixListener, work: mpsc::Sender<Work>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let work = work.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, work).await {
                        tracing::debug!(%error, "a client of the socket went away");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SocketPeer {
    /// It may change what is in force.
    Root,
    Other,
}

async fn converse(stream: UnixStream, work: mpsc::Sender<Work>) -> std::io::Result<()> {
    let peer = match stream.peer_cred()?.uid() {
        0 => SocketPeer::Root,
        _ => SocketPeer::Other,
    };
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(REQUEST_LIMIT));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
    let mut answer = respond(&line, peer, &work).await;
    answer.push('\n');
    write.write_all(answer.as_bytes()).await
}

async fn respond(line: &str, peer: SocketPeer, work: &mpsc::Sender<Work>) -> String {
    if let Ok(request) = serde_json::from_str::<cni::Request>(line) {
        return text(&serve_plugin(request, peer, work).await);
    }
    let question: ControlRequest = match serde_json::from_str(line) {
        Ok(question) => question,
        Err(error) => return text(&ControlAnswer::refused("NotUnderstood", error.to_string())),
    };
    let only_reads = matches!(
        question,
        ControlRequest::Status | ControlRequest::Explain(_)
    );
    if peer != SocketPeer::Root && !only_reads {
        return text(&ControlAnswer::refused(
            "NotPermitted",
            "only root may change what is in force",
        ));
    }
    let (send, receive) = oneshot::channel();
    let sent = work.send(Work::Ask(question, send)).await.is_ok();
    match (sent, receive.await) {
        (true, Ok(answer)) => text(&answer),
        _ => text(&ControlAnswer::refused("Stopping", "the agent is stopping")),
    }
}

/// A request of the plugin. Once the agent is found busy, the way back is closed, by which the agent sees that nobody waits
/// for the answer any more.
async fn serve_plugin(
    request: cni::Request,
    peer: SocketPeer,
    work: &mpsc::Sender<Work>,
) -> cni::CniResponse {
    if peer != SocketPeer::Root {
        return later("NotPermitted", "the plugin must run as root");
    }
    let (send, receive) = oneshot::channel();
    let asked = async {
        work.send(Work::Cni(request, send)).await.ok()?;
        receive.await.ok()
    };
    match tokio::time::timeout(BUSY_AFTER, asked).await {
        Ok(Some(response)) => response,
        Ok(None) => later("Stopping", "the agent is stopping"),
        Err(_) => later(
            "Busy",
            "the agent is at work in the kernel and has not come to this yet: try again",
        ),
    }
}

fn later(reason: &str, message: &str) -> cni::CniResponse {
    cni::CniResponse::Refused(cni::CniRefusal {
        code: TRY_AGAIN_LATER,
        reason: reason.to_owned(),
        message: message.to_owned(),
    })
}

fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| {
        r#"{"ok":false,"reason":"Internal","message":"the answer cannot be written"}"#.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const DEL: &str = r#"{"verb": "cni-del", "containerId": "c1", "ifname": "eth0"}"#;

    async fn reason(line: &str, peer: SocketPeer, work: &mpsc::Sender<Work>) -> String {
        let answer = respond(line, peer, work).await;
        match serde_json::from_str(&answer).unwrap() {
            cni::CniResponse::Refused(refusal) => {
                assert_eq!(refusal.code, TRY_AGAIN_LATER);
                refusal.reason
            }
            cni::CniResponse::Done => panic!("{answer}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_plugin_hears_that_the_agent_is_busy_before_it_takes_it_for_away() {
        let (work, mut queue) = mpsc::channel(1);
        // The first one waits for its answer, the second one for its place in the queue.
        for _ in 0..2 {
            let begun = Instant::now();
            assert_eq!(reason(DEL, SocketPeer::Root, &work).await, "Busy");
            assert!(begun.elapsed() < cni::PATIENCE - Duration::from_millis(500));
        }
        match queue.try_recv() {
            Ok(Work::Cni(_, answer)) => assert!(answer.is_closed(), "nobody waits any more"),
            other => panic!("{other:?}"),
        }
        assert!(queue.try_recv().is_err(), "the second one was not taken");
    }

    #[tokio::test]
    async fn a_refusal_of_the_socket_itself_has_the_plugins_form() {
        let (work, queue) = mpsc::channel(1);
        assert_eq!(reason(DEL, SocketPeer::Other, &work).await, "NotPermitted");
        drop(queue);
        assert_eq!(reason(DEL, SocketPeer::Root, &work).await, "Stopping");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_trusted_for_root_and_for_nobody_else() {
        let (work, mut queue) = mpsc::channel(1);
        let line = r#"{"verb": "trust-clock", "reason": "the BIOS date was wrong"}"#;
        let refused = respond(line, SocketPeer::Other, &work);
        let refused = tokio::time::timeout(PATIENCE, refused).await;
        let refused = refused.expect("an answer of the socket itself");
        let refused: ControlAnswer = serde_json::from_str(&refused).unwrap();
        assert_eq!(refused.reason.as_deref(), Some("NotPermitted"));
        assert!(queue.try_recv().is_err(), "the agent is not asked");
        let agent = async {
            match queue.recv().await {
                Some(Work::Ask(ControlRequest::TrustClock { reason }, answer)) => {
                    assert_eq!(reason, "the BIOS date was wrong");
                    answer.send(ControlAnswer::done()).unwrap();
                }
                other => panic!("{other:?}"),
            }
        };
        let (answer, ()) = tokio::join!(respond(line, SocketPeer::Root, &work), agent);
        let answer: ControlAnswer = serde_json::from_str(&answer).unwrap();
        assert!(answer.ok, "{answer:?}");
    }

    #[tokio::test]
    async fn an_explanation_is_for_others_than_root_too_and_a_measurement_is_not() {
        let (work, mut queue) = mpsc::channel(1);
        let explain = r#"{"verb": "explain", "namespace": "shop", "pod": "web", "target": {"address": "192.0.2.1", "protocol": "TCP", "port": 443}}"#;
        let agent = async {
            match queue.recv().await {
                Some(Work::Ask(ControlRequest::Explain(asked), answer)) => {
                    assert_eq!(asked.target.port, Some(443));
                    answer.send(ControlAnswer::done()).unwrap();
                }
                other => panic!("{other:?}"),
            }
        };
        let (answer, ()) = tokio::join!(respond(explain, SocketPeer::Other, &work), agent);
        let answer: ControlAnswer = serde_json::from_str(&answer).unwrap();
        assert!(answer.ok, "{answer:?}");
        let check =
            r#"{"verb": "dns-check", "pod": "10.244.1.2", "names": ["a.test"], "rounds": 1}"#;
        let refused = respond(check, SocketPeer::Other, &work).await;
        assert!(refused.contains("NotPermitted"), "{refused}");
    }
}
