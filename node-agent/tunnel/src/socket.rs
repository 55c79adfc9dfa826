//! The configuration socket of one tunnel.
//!
//! The protocol is the cross-platform one of WireGuard
//! (<https://www.wireguard.com/xplatform/#configuration-protocol>): requests end with an empty
//! line, and one connection may carry several. The library's own listener has a fixed folder and
//! no way to stop, so connections are taken here and only the requests are handed to it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use gotatun::device::uapi::{
    UapiClient,
    command::{Get, Request, Response, Set},
};
use nix::errno::Errno;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{SessionError, device::Configurator};

/// A request of 5000 peers with two ranges each has about 1 MiB.
const LONGEST_REQUEST: usize = 16 << 20;

/// A bound socket; its file is removed when this value is dropped.
pub(crate) struct ConfigurationSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ConfigurationSocket {
    /// Removes what a killed predecessor left and listens with mode 0600.
    ///
    /// Only whoever has the TUN open may call this: a file at this path is then nobody's.
    pub(crate) fn bind(path: &Path) -> Result<Self, SessionError> {
        remove_if_there(path).map_err(|source| SessionError::StaleSocket {
            path: path.to_path_buf(),
            source,
        })?;
        let failed = |source| SessionError::Listen {
            path: path.to_path_buf(),
            source,
        };
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self {
            path: path.to_path_buf(),
            listener,
        };
        // The folder is 0700, so nobody else can connect between the two calls.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(socket)
    }

    pub(crate) async fn accept(&self) -> Result<UnixStream, SessionError> {
        match self.listener.accept().await {
            Ok((stream, _)) => Ok(stream),
            Err(source) => Err(SessionError::Accept { source }),
        }
    }
}

impl Drop for ConfigurationSocket {
    fn drop(&mut self) {
        if let Err(error) = remove_if_there(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "socket file stays behind");
        }
    }
}

/// Removes the socket file of a tunnel that is not served.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Why a conversation ended before the client closed it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConversationError {
    #[error("the connection failed")]
    Connection(#[from] io::Error),
    /// The client asked for a port that cannot be bound, and was told so.
    #[error("the port cannot be bound")]
    Bind {
        #[source]
        source: io::Error,
    },
}

/// Answers requests until the client closes the connection.
pub(crate) async fn converse(
    stream: UnixStream,
    device: Configurator,
) -> Result<(), ConversationError> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(text) = next_request(&mut reader).await? {
        let answer = answer(device.client(), &text).await;
        if let Some(number) = device.bind_error() {
            let told = writer.write_all(errno(number).as_bytes()).await;
            tracing::debug!(?told, "bind failed");
            let source = io::Error::from_raw_os_error(number);
            return Err(ConversationError::Bind { source });
        }
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The lines up to an empty line or the end of the stream; `None` when there are none left.
async fn next_request<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
) -> io::Result<Option<String>> {
    let mut text = String::new();
    loop {
        let start = text.len();
        let room = (LONGEST_REQUEST - start) as u64;
        let read = reader.take(room).read_line(&mut text).await?;
        let line = text.get(start..).unwrap_or_default();
        if read == 0 && start >= LONGEST_REQUEST {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        match (read, line, start) {
            (0, _, 0) => return Ok(None),
            (0, _, _) => return Ok(Some(text)),
            (_, "\n", 0) => text.clear(),
            (_, "\n", _) => {
                text.truncate(start);
                return Ok(Some(text));
            }
            _ => {}
        }
    }
}

/// The answer to one request, with the empty line that ends it.
async fn answer(client: &UapiClient, text: &str) -> String {
    let request = match Request::from_str(text) {
        Ok(request) => request,
        Err(reason) => {
            tracing::warn!(%reason, "request refused");
            return errno(Errno::EINVAL as i32);
        }
    };
    if let Request::Set(set) = &request
        && adds_peer_without_key(client, set).await
    {
        tracing::warn!("request refused: a peer before the first private key");
        return errno(Errno::EINVAL as i32);
    }
    match client.send(request).await {
        Ok(response) => format!("{response}\n"),
        Err(_) => errno(Errno::ENODEV as i32),
    }
}

/// The library builds a peer from the device's key and panics without one, which would end the
/// device's configuration for good while its socket still took connections.
async fn adds_peer_without_key(client: &UapiClient, set: &Set) -> bool {
    if set.private_key.is_some() || set.peers.iter().all(|peer| peer.remove) {
        return false;
    }
    match client.send(Get::default()).await {
        Ok(Response::Get(device)) => device.private_key.is_none(),
        Ok(Response::Set(_)) | Err(_) => false,
    }
}

fn errno(number: i32) -> String {
    format!("errno={number}\n\n")
}
