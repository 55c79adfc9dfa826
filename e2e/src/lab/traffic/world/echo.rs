//! Port 7: every datagram and every piece of a stream is answered with `ADDRESS PORT\n` of its sender. Port 19: the same
//! line again and again, unasked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::LabError;
use crate::lab::traffic::world::Datagrams;
use crate::lab::traffic::world::listener::listener;

/// Between two lines of a stream.
const SPEECH: Duration = Duration::from_millis(100);

pub(crate) fn serve_udp(address: SocketAddr) -> Result<JoinHandle<()>, LabError> {
    let mut socket = Datagrams::bind(address)?;
    Ok(std::thread::spawn(move || {
        loop {
            // An ICMP error of an earlier answer comes up here; the next datagram is not concerned.
            let _ = socket.answer(|datagram| Some(seen(datagram.from).into_bytes()));
        }
    }))
}

pub(crate) fn serve_tcp(address: SocketAddr) -> Result<JoinHandle<()>, LabError> {
    let listener = listener(address)?;
    Ok(std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || converse(stream));
        }
    }))
}

fn converse(mut stream: TcpStream) -> Option<()> {
    let answer = seen(stream.peer_addr().ok()?);
    stream.set_nodelay(true).ok()?;
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).ok()? > 0 {
        stream.write_all(answer.as_bytes()).ok()?;
    }
    Some(())
}

/// Port 19: the server speaks and the client only listens, so that no packet of the client mends a cut flow.
pub(crate) fn serve_stream(address: SocketAddr) -> Result<JoinHandle<()>, LabError> {
    let listener = listener(address)?;
    Ok(std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || speak(stream));
        }
    }))
}

fn speak(mut stream: TcpStream) -> Option<()> {
    let line = seen(stream.peer_addr().ok()?);
    loop {
        stream.write_all(line.as_bytes()).ok()?;
        std::thread::sleep(SPEECH);
    }
}

fn seen(from: SocketAddr) -> String {
    format!("{} {}\n", from.ip(), from.port())
}
