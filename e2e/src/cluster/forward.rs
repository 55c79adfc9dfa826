//! A way from outside into the namespace of the control plane: two listening ports, each connected to one inside.
//!
//! A socket belongs for ever to the network namespace in which it was made. So the process listens first, where it was
//! started, and moves into the namespace `cp` before it connects to anything.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;

use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::lab::Lab;
use crate::lab::LabError;
use crate::lab::topology::{self, API_PORT};

/// The ports of the forwarder, on 127.0.0.1 in the namespace of the program that called `up`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ports {
    /// To the API server itself.
    pub(super) lab: u16,
    /// To front.
    pub(super) front: u16,
}

/// The process `lab run forward`.
///
/// # Errors
/// When it cannot listen or enter the namespace.
pub(crate) fn forward(lab: &Lab) -> Result<(), LabError> {
    let targets = [Ipv4Addr::LOCALHOST, topology::CONTROL4];
    let mut listeners = Vec::new();
    let mut ports = Vec::new();
    for _ in targets {
        let (listener, port) =
            listen().map_err(LabError::file("listen with the forwarder of", lab.dir()))?;
        listeners.push(listener);
        ports.push(port);
    }
    let text = json!({"lab": ports[0], "front": ports[1]}).to_string();
    lab.write_atomically(&lab.plane_dir().join("forward.json"), text.as_bytes())?;
    let path = lab.namespace("cp").path().to_owned();
    let file = File::open(&path).map_err(LabError::file("open", &path))?;
    setns(&file, CloneFlags::CLONE_NEWNET)
        .map_err(LabError::system(format!("enter {}", path.display())))?;
    let threads: Vec<_> = listeners
        .into_iter()
        .zip(targets)
        .map(|(listener, target)| {
            thread::spawn(move || accept(&listener, SocketAddrV4::new(target, API_PORT).into()))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| LabError::ThreadLost {
            act: "accept connections for the API server",
        })?;
    }
    Ok(())
}

fn listen() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// A thread that is made now is in the namespace that its maker is in now: so connections are made inside.
fn accept(listener: &TcpListener, target: SocketAddr) {
    for client in listener.incoming().flatten() {
        thread::spawn(move || {
            // A client whose server is away sees its connection end; there is nobody else to tell.
            let _ = join(&client, target);
        });
    }
}

fn join(client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || copy(&from, &to));
    copy(&server, client);
    Ok(())
}

/// Copies one direction to its end and hands that end on.
fn copy(from: &TcpStream, to: &TcpStream) {
    let (mut reader, mut writer) = (from, to);
    // A broken connection ends like a closed one: both ends see it.
    let _ = io::copy(&mut reader, &mut writer);
    let _ = to.shutdown(Shutdown::Write);
}
