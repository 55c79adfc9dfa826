//! Single questions, for pods and nodes that have no tools of their own: one connection, one datagram, one name.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use jiff::SignedDuration;

use crate::lab::LabError;

/// A question to port 7 of a server.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// Whom to ask, ADDRESS:PORT (`[ADDRESS]:PORT` for IPv6).
    pub to: SocketAddr,
    /// Connection or datagram.
    #[arg(long, short, default_value = "tcp")]
    pub protocol: Transport,
    /// Own port; the kernel chooses without it.
    #[arg(long, default_value_t = 0)]
    pub source_port: u16,
    /// How long to wait for the answer.
    #[arg(long, default_value = "1s")]
    pub timeout: SignedDuration,
}

/// A question about a name.
#[derive(Clone, Debug, Args)]
pub struct ResolveArgs {
    /// The name.
    pub name: String,
    /// The server's address; $RESOLVER without it.
    #[arg(long, env = "RESOLVER")]
    pub server: IpAddr,
    /// Record type: A, AAAA, TXT, ...
    #[arg(long, default_value = "A")]
    pub kind: String,
    /// Connection or datagram.
    #[arg(long, short, default_value = "udp")]
    pub protocol: Transport,
    /// How long to wait for the answer.
    #[arg(long, default_value = "2s")]
    pub timeout: SignedDuration,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// A connection.
    Tcp,
    /// A datagram.
    Udp,
}

/// Asks once and answers the source address that the other side saw.
///
/// # Errors
/// `File` with the error of the kernel: refused, timed out, unreachable.
pub fn probe(args: &ProbeArgs) -> Result<String, LabError> {
    let failed = LabError::file("reach", args.to.to_string());
    let answer = exchange(args, b"x\n", Framing::None).map_err(failed)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    Ok(text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Asks for a name and answers one line per record, or the response code when it is an error.
///
/// # Errors
/// `File` with the error of the kernel, `Invalid` when name, type or answer are not DNS.
pub fn resolve(args: &ResolveArgs) -> Result<String, LabError> {
    let invalid =
        |what: &'static str, value: &str, why: &dyn std::fmt::Display| LabError::Invalid {
            what,
            value: value.to_owned(),
            why: why.to_string(),
        };
    let name = Name::from_ascii(&args.name).map_err(|why| invalid("name", &args.name, &why))?;
    let kind =
        RecordType::from_str(&args.kind).map_err(|why| invalid("record type", &args.kind, &why))?;
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, kind));
    let packet = query
        .to_vec()
        .map_err(|why| invalid("name", &args.name, &why))?;
    let to = SocketAddr::new(args.server, 53);
    let probe = ProbeArgs {
        to,
        protocol: args.protocol,
        source_port: 0,
        timeout: args.timeout,
    };
    let answer = exchange(&probe, &packet, Framing::Length)
        .map_err(LabError::file("ask", to.to_string()))?;
    let answer = Message::from_vec(&answer).map_err(|why| invalid("answer", &args.name, &why))?;
    let code = answer.metadata.response_code;
    if u16::from(code) != 0 {
        return Ok(format!("{code:?}").to_uppercase());
    }
    Ok(answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect::<Vec<_>>()
        .join("\n"))
}

/// How messages on a stream are separated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    /// Two bytes of length before each (RFC 1035 section 4.2.2).
    Length,
}

fn exchange(args: &ProbeArgs, question: &[u8], framing: Framing) -> std::io::Result<Vec<u8>> {
    let timeout = Duration::try_from(args.timeout).unwrap_or(Duration::from_secs(1));
    let mut buffer = vec![0; 65535];
    if args.protocol == Transport::Udp {
        let any: IpAddr = if args.to.is_ipv4() {
            [0; 4].into()
        } else {
            [0_u16; 8].into()
        };
        let socket = UdpSocket::bind((any, args.source_port))?;
        socket.set_read_timeout(Some(timeout))?;
        socket.connect(args.to)?;
        socket.send(question)?;
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        return Ok(buffer);
    }
    let mut stream = TcpStream::connect_timeout(&args.to, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    if framing == Framing::None {
        stream.write_all(question)?;
        let length = stream.read(&mut buffer)?;
        buffer.truncate(length);
        return Ok(buffer);
    }
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes()[..], question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    buffer.truncate(usize::from(u16::from_be_bytes(length)));
    stream.read_exact(&mut buffer)?;
    Ok(buffer)
}
