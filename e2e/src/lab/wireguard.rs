//! A WireGuard server in the world that is not ours: `wireguard-go`, unmodified. Its socket for settings is in a file system
//! of its own, so that a lab leaves no file of it behind.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use postern_intent::credential::{ExitCredential, SecretBytes};
use postern_intent::{WgKey, hex};

use crate::lab::sandbox::command;
use crate::lab::sandbox::process::first_process;
use crate::lab::{Lab, LabError, wait_until};

/// Name of its process.
pub const WIREGUARD: &str = "wireguard";

const DEVICE: &str = "wg-server";
const START: Duration = Duration::from_secs(10);

/// Makes the folder for its socket before it starts.
const RUN: &str =
    "mkdir -p /run/wireguard && mount -t tmpfs tmpfs /run/wireguard && exec \"$0\" -f \"$1\"";

/// The keys of the server and its one client.
#[derive(Clone, Debug)]
pub struct WireguardServer {
    pub private_key: SecretBytes,
    /// UDP port at which it listens.
    pub port: u16,
    /// Its only client.
    pub client: WgKey,
    pub preshared_key: Option<SecretBytes>,
    /// Its own addresses in the tunnel, with their networks.
    pub addresses: Vec<String>,
    /// What it gave to the client.
    pub client_addresses: Vec<String>,
}

impl WireguardServer {
    /// The public half of its key.
    ///
    /// # Errors
    /// When the key has none.
    pub fn public_key(&self) -> Result<WgKey, LabError> {
        let own = ExitCredential {
            private_key: self.private_key.clone(),
            preshared_key: None,
        };
        own.public_key().map_err(|error| LabError::Key {
            why: error.to_string(),
        })
    }

    fn settings(&self) -> String {
        let mut text = format!(
            "set=1\nprivate_key={}\nlisten_port={}\npublic_key={}\n",
            hex(self.private_key.expose()),
            self.port,
            hex(self.client.bytes())
        );
        if let Some(key) = &self.preshared_key {
            text += &format!("preshared_key={}\n", hex(key.expose()));
        }
        for address in &self.client_addresses {
            text += &format!("allowed_ip={address}\n");
        }
        text + "\n"
    }
}

impl Lab {
    /// Starts the server in the world, unless it runs.
    ///
    /// # Errors
    /// When the program is not installed, or does not take its settings.
    pub fn start_wireguard(&self, server: &WireguardServer) -> Result<(), LabError> {
        let world = self.namespace("world");
        let command = [
            "sh".into(),
            "-c".into(),
            RUN.into(),
            program().into(),
            DEVICE.into(),
        ];
        self.start(WIREGUARD, &world, command.to_vec())?;
        let mut stream = wait_until(START, "the socket of the WireGuard server", || {
            let process = first_process(&self.cgroup(WIREGUARD)?);
            let path = process
                .map(|process| format!("/proc/{}/root/run/wireguard/{DEVICE}.sock", process.pid));
            Ok(path.and_then(|path| UnixStream::connect(path).ok()))
        })?;
        let failed = || LabError::file("ask", DEVICE);
        let settings = server.settings();
        stream.write_all(settings.as_bytes()).map_err(failed())?;
        stream.shutdown(Shutdown::Write).map_err(failed())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed())?;
        if !answer.contains("errno=0") {
            return Err(LabError::Key { why: answer });
        }
        for address in &server.addresses {
            let mut ip = world.command("ip");
            command::run(ip.args(["address", "add", address, "dev", DEVICE]))?;
        }
        let mut ip = world.command("ip");
        command::run(ip.args(["link", "set", DEVICE, "up"])).map(drop)
    }
}

/// Where `e2e/setup/tools.sh wireguard` puts it.
fn program() -> PathBuf {
    let tools = std::env::var_os("TOOLS").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let tools = tools.or_else(|| Some(cache.or_else(home)?.join("postern/tools")));
    tools.unwrap_or_default().join("bin/wireguard-go")
}
