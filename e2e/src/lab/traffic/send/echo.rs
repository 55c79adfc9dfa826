//! TCP and UDP towards port 7.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::lab::traffic::send::Tally;
use crate::lab::traffic::send::flow::Flow;

/// A connection that is not made within this time is tried again, with a new source port.
const CONNECT: Duration = Duration::from_millis(200);

/// A connection is closed after this time and another one opened, so that both old and new ones are always tried.
const LIFETIME: Duration = Duration::from_secs(2);

/// A connection that has had no answer for so long is given up.
const SILENCE: Duration = Duration::from_secs(1);

/// Datagrams from one socket, so that a flow that conntrack knows continues.
pub(crate) fn datagrams(to: SocketAddr, flow: &Flow) {
    let mut buffer = [0; 512];
    let mut socket = None;
    loop {
        flow.pace();
        let Some(open) = socket.take().or_else(|| flow.noted(connected(to))) else {
            continue;
        };
        let sent = open.send(b"x");
        flow.tally(|tally| {
            tally.sent += 1;
            note(tally, sent.map(drop));
            loop {
                match open.recv(&mut buffer) {
                    Ok(length) => tally.answered(&buffer[..length]),
                    Err(error) => break tally.failed(&error),
                }
            }
        });
        socket = Some(open);
    }
}

fn connected(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() {
        [0; 4].into()
    } else {
        [0_u16; 8].into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Connections, each with a byte at every pace.
pub(crate) fn connections(to: SocketAddr, flow: &Flow) {
    loop {
        flow.pace();
        flow.tally(|tally| tally.sent += 1);
        if let Some(stream) = flow.noted(TcpStream::connect_timeout(&to, CONNECT)) {
            let ended = converse(stream, flow);
            flow.tally(|tally| note(tally, ended));
        }
    }
}

fn converse(mut stream: TcpStream, flow: &Flow) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut buffer = [0; 4096];
    let (opened, mut heard) = (Instant::now(), Instant::now());
    while opened.elapsed() < LIFETIME && heard.elapsed() < SILENCE {
        stream.write_all(b"x")?;
        flow.tally(|tally| tally.sent += 1);
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                heard = Instant::now();
                flow.tally(|tally| tally.answered(&buffer[..length]));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        flow.pace();
    }
    close(&mut stream, flow)
}

/// Reads what is still to come before the socket is closed: closing it with unread bytes sends a reset, and a sender
/// that resets by itself would hide the resets that others cause.
fn close(stream: &mut TcpStream, flow: &Flow) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    stream.shutdown(Shutdown::Write)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(CONNECT))?;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => flow.tally(|tally| tally.answered(&buffer[..length])),
        }
    }
}

fn note(tally: &mut Tally, result: std::io::Result<()>) {
    if let Err(error) = result {
        tally.failed(&error);
    }
}
