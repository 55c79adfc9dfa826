//! One tunnel, from its request until the request goes.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::watch, task::JoinSet, time};
use tracing::Instrument;

use crate::{
    SessionError, TunnelName,
    backoff::Backoff,
    device::{Configurator, WireGuard},
    health::TransportHealth,
    socket::{ConfigurationSocket, ConversationError, converse},
    tun::{Tun, index_of},
};

/// A TUN that was deleted wakes a device that reads it; one without a key reads nothing, so the
/// index is looked at as well.
const INDEX_POLL: Duration = Duration::from_millis(500);

/// Connections that one tunnel answers at the same time.
const CONNECTIONS: usize = 16;

/// Why a served tunnel is served no longer.
enum SessionEnd {
    Asked,
    Failed(SessionError),
}

/// Serves one tunnel again and again until `stop` says true or its sender is gone.
pub(crate) async fn serve(name: TunnelName, socket: PathBuf, mut stop: watch::Receiver<bool>) {
    let span = tracing::info_span!("tunnel", name = %name);
    async {
        let mut backoff = Backoff::new();
        let mut told = None;
        loop {
            let reason = match serve_once(&name, &socket, &mut stop, &mut backoff).await {
                SessionEnd::Asked => break,
                SessionEnd::Failed(reason) => reason,
            };
            // The same reason again and again is one line, not two a second.
            let kind = std::mem::discriminant(&reason);
            if told.replace(kind) != Some(kind) {
                let cause = std::error::Error::source(&reason).map(ToString::to_string);
                tracing::warn!(%reason, cause, "not served, trying again");
            }
            tokio::select! {
                () = asked(&mut stop) => break,
                () = time::sleep(backoff.after_failure()) => {}
            }
        }
        tracing::info!("stopped");
    }
    .instrument(span)
    .await;
}

async fn serve_once(
    name: &TunnelName,
    path: &std::path::Path,
    stop: &mut watch::Receiver<bool>,
    backoff: &mut Backoff,
) -> SessionEnd {
    let opened = open(name, path).await;
    let (index, socket, device) = match opened {
        Ok(opened) => opened,
        Err(reason) => return SessionEnd::Failed(reason),
    };
    backoff.reset();
    tracing::info!(index, socket = %path.display(), "serving");
    let client = device.client();
    let end = tokio::select! {
        () = asked(stop) => SessionEnd::Asked,
        reason = device.lost() => SessionEnd::Failed(reason),
        () = replaced(name, index) => SessionEnd::Failed(SessionError::Replaced),
        error = answer_clients(&socket, &client) => SessionEnd::Failed(error),
    };
    // The socket goes while the TUN is still ours: a successor that has the TUN may bind at once,
    // and its file must not be the one that is removed here.
    drop(socket);
    device.stop().await;
    end
}

async fn open(
    name: &TunnelName,
    path: &std::path::Path,
) -> Result<(u32, ConfigurationSocket, WireGuard), SessionError> {
    let index = index_of(name).ok_or(SessionError::Absent)?;
    let health = TransportHealth::new();
    let tun = Tun::open(name, index, health.clone())?;
    let socket = ConfigurationSocket::bind(path)?;
    let device = WireGuard::build(tun, health).await?;
    Ok((index, socket, device))
}

/// Waits until the interface of that name is another one, or gone.
async fn replaced(name: &TunnelName, index: u32) {
    let mut poll = time::interval(INDEX_POLL);
    loop {
        poll.tick().await;
        if index_of(name) != Some(index) {
            return;
        }
    }
}

/// Takes connections until the listener fails. Dropping this future ends every connection.
async fn answer_clients(socket: &ConfigurationSocket, client: &Configurator) -> SessionError {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok(stream) => {
                    connections.spawn(converse(stream, client.clone()).in_current_span());
                }
                Err(error) => return error,
            },
            Some(ended) = connections.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(ConversationError::Bind { source })) => {
                    return SessionError::Bind { source };
                }
                Ok(Err(error)) => tracing::debug!(%error, "connection ended"),
                Err(error) => tracing::error!(%error, "connection failed"),
            },
        }
    }
}

/// Waits until the tunnel shall stop.
async fn asked(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means that the supervisor is gone, which is a reason to stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
