//! Devices that the tunnel process serves: asked for by a file in `tunnels/`, talked to by a socket in `wireguard/`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_host::error::{HostCause, errno};
use postern_intent::credential::SecretBytes;
use postern_intent::{IfName, WgKey};
use postern_plan::host::{ObservedTunnel, TunnelConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::change::{TunnelChange, changes, requests};
use super::key::PrivateKey;
use super::uapi;

/// How long a process may take for an answer. One that hangs is for its supervisor to kill, never waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a process may take to serve a device that it is asked for.
const SERVED: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(20);
/// 6000 peers take 2 MB.
const LONGEST: u64 = 64 * 1024 * 1024;

/// What the device answers; none when nobody serves it.
pub(super) async fn read(
    run_dir: &Path,
    device: &IfName,
) -> Result<Option<ObservedTunnel>, HostCause> {
    match ask(run_dir, device, uapi::GET).await {
        Ok(answer) => uapi::parse(device, &answer).map(Some),
        Err(HostCause::NotServed) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Asks for the device to be served, waits until it is, and makes it what it should be.
pub(super) async fn configure(
    run_dir: &Path,
    config: &TunnelConfig,
    key: &PrivateKey,
    preshared: Option<&SecretBytes>,
) -> Result<(), HostCause> {
    request(run_dir, &config.interface).await?;
    let observed = served(run_dir, &config.interface).await?;
    let list = changes(&observed, config, key, preshared);
    for part in requests(&list) {
        uapi::outcome(&ask(run_dir, &config.interface, &uapi::set(part)).await?)?;
    }
    Ok(())
}

/// Sets each peer anew. gotatun makes a new peer, without a session, for each one that a request names; a request that also
/// removes it is refused, because it names it twice (`validate_set`, EINVAL).
pub(super) async fn renew(
    run_dir: &Path,
    config: &TunnelConfig,
    preshared: Option<&SecretBytes>,
) -> Result<(), HostCause> {
    let peers = config.peers.iter();
    let peers: Vec<TunnelChange<'_>> = peers
        .map(|peer| TunnelChange::SetPeer(peer, preshared))
        .collect();
    uapi::outcome(&ask(run_dir, &config.interface, &uapi::set(&peers)).await?)
}

/// Removes a peer. Removing one that is not there is no error of the protocol.
pub(super) async fn remove_peer(
    run_dir: &Path,
    device: &IfName,
    peer: &WgKey,
) -> Result<(), HostCause> {
    match ask(
        run_dir,
        device,
        &uapi::set(&[TunnelChange::RemovePeer(*peer)]),
    )
    .await
    {
        Ok(answer) => uapi::outcome(&answer),
        // A device that nobody serves has no peers and sends nothing.
        Err(HostCause::NotServed) => Ok(()),
        Err(cause) => Err(cause),
    }
}

/// Takes the request back and waits until the process has let go of the device.
pub(super) async fn dismiss(run_dir: &Path, device: &IfName) -> Result<(), HostCause> {
    match tokio::fs::remove_file(run_dir.join("tunnels").join(device.as_str())).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let deadline = Instant::now() + SERVED;
    while connect(run_dir, device).await.is_ok() {
        if Instant::now() > deadline {
            return Err(HostCause::TimedOut {
                seconds: SERVED.as_secs(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn request(run_dir: &Path, device: &IfName) -> Result<(), HostCause> {
    let folder = run_dir.join("tunnels");
    tokio::fs::create_dir_all(&folder).await?;
    let file = folder.join(device.as_str());
    if !tokio::fs::try_exists(&file).await? {
        tokio::fs::write(&file, "").await?;
    }
    Ok(())
}

async fn served(run_dir: &Path, device: &IfName) -> Result<ObservedTunnel, HostCause> {
    let deadline = Instant::now() + SERVED;
    loop {
        if let Some(observed) = read(run_dir, device).await? {
            return Ok(observed);
        }
        if Instant::now() > deadline {
            return Err(HostCause::NotServed);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn socket(run_dir: &Path, device: &IfName) -> PathBuf {
    run_dir.join("wireguard").join(format!("{device}.sock"))
}

async fn connect(run_dir: &Path, device: &IfName) -> Result<UnixStream, HostCause> {
    UnixStream::connect(socket(run_dir, device))
        .await
        .map_err(|error| match error.raw_os_error() {
            // No socket, or one that a killed process has left behind.
            Some(errno::ENOENT | errno::ECONNREFUSED) => HostCause::NotServed,
            _ => error.into(),
        })
}

async fn ask(run_dir: &Path, device: &IfName, text: &str) -> Result<String, HostCause> {
    match tokio::time::timeout(ANSWER, talk(run_dir, device, text)).await {
        Ok(answer) => answer,
        Err(_) => Err(HostCause::TimedOut {
            seconds: ANSWER.as_secs(),
        }),
    }
}

/// One request and its answer, which ends with an empty line; the process may keep the connection open after it.
async fn talk(run_dir: &Path, device: &IfName, text: &str) -> Result<String, HostCause> {
    let mut stream = connect(run_dir, device).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut reader = BufReader::new(stream).take(LONGEST);
    let mut answer = String::new();
    loop {
        let before = answer.len();
        let read = reader.read_line(&mut answer).await?;
        if read == 0 || answer.get(before..) == Some("\n") {
            return Ok(answer);
        }
    }
}
