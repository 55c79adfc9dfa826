//! Port 80: any request is answered with the source address it came from.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::LabError;
use crate::lab::traffic::world::listener::listener;

/// A connection on which no request arrives within this time is closed.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn serve(address: SocketAddr) -> Result<JoinHandle<()>, LabError> {
    let listener = listener(address)?;
    Ok(std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || respond(stream));
        }
    }))
}

fn respond(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(REQUEST_DEADLINE)).ok()?;
    let from = stream.peer_addr().ok()?.ip();
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    let body = format!("{from}\n");
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
    stream
        .write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes())
        .ok()
}
