//! Requests of any netlink family, encoded by hand: for XFRM and conntrack there is no crate to lean on.
//!
//! A socket lives for one request. That costs two system calls and saves the bookkeeping of who waits for which
//! answer; a late answer to a request that timed out dies with its socket. For grants it would cost more: [`KeptSocket`].

use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use postern_host::error::{HostCause, errno};
use tokio::sync::Mutex;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
const ACK: u16 = 0x4;
/// `NLM_F_DUMP_INTR` of an answer: the kernel's list changed while it was read.
const INTERRUPTED: u16 = 0x10;
/// `NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A message of the kernel: its type and what follows the header.
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

/// Lists something. A list that changed while it was read is read again, three times at most.
pub(crate) async fn dump(
    protocol: isize,
    kind: u16,
    body: &[u8],
) -> Result<Vec<Message>, HostCause> {
    dump_where(protocol, kind, body, |_| true).await
}

/// Lists something and keeps what is wanted, so that a list of millions takes no memory. What is waited for is the next
/// part of the list, and not its end.
pub(crate) async fn dump_where(
    protocol: isize,
    kind: u16,
    body: &[u8],
    is_wanted: impl Fn(&Message) -> bool,
) -> Result<Vec<Message>, HostCause> {
    for _ in 0..3 {
        match ask(protocol, kind, REQUEST | DUMP, body, &is_wanted).await {
            Err(HostCause::Errno {
                errno: errno::EINTR,
            }) => {}
            other => return other,
        }
    }
    Err(HostCause::errno(errno::EINTR))
}

/// Asks for one thing.
pub(crate) async fn get(
    protocol: isize,
    kind: u16,
    body: &[u8],
) -> Result<Vec<Message>, HostCause> {
    ask(protocol, kind, REQUEST | ACK, body, |_| true).await
}

pub(crate) async fn act(
    protocol: isize,
    kind: u16,
    flags: u16,
    body: &[u8],
) -> Result<(), HostCause> {
    ask(protocol, kind, REQUEST | ACK | flags, body, |_| true)
        .await
        .map(drop)
}

/// A message of a batch.
pub(crate) struct BatchMessage {
    pub(crate) kind: u16,
    /// Beyond `NLM_F_REQUEST`.
    pub(crate) flags: u16,
    pub(crate) body: Vec<u8>,
}

/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 17;

/// The longest answer to a request on a [`KeptSocket`]: an error, which repeats the request.
const LONGEST: usize = 32 * 1024;

/// A socket of netfilter that is kept from request to request. close(2) blocks its thread until the kernel has freed the elements
/// that earlier batches deleted, about 10 ms. With a socket for each request every DNS answer would wait for that.
#[derive(Default)]
pub(crate) struct KeptSocket(Mutex<Option<TokioSocket>>);

impl KeptSocket {
    /// Asks for some things.
    pub(crate) async fn get(&self, kind: u16, body: &[u8]) -> Result<Vec<Message>, HostCause> {
        self.ask(&request(kind, REQUEST | ACK, body)).await
    }

    /// Gives nftables messages that it takes all of or none of. `struct nfgenmsg` of the ends names the subsystem, 10.
    pub(crate) async fn batch(&self, messages: Vec<BatchMessage>) -> Result<(), HostCause> {
        const SUBSYSTEM: [u8; 4] = [0, 0, 0, 10];
        let count = messages.len();
        let mut datagram = request(BATCH_BEGIN, REQUEST, &SUBSYSTEM);
        for (at, message) in messages.into_iter().enumerate() {
            // An error of an earlier message comes before the last one's answer.
            let answered = if at + 1 == count { ACK } else { 0 };
            let flags = REQUEST | message.flags | answered;
            datagram.extend(request(message.kind, flags, &message.body));
        }
        datagram.extend(request(BATCH_END, REQUEST, &SUBSYSTEM));
        self.ask(&datagram).await.map(drop)
    }

    async fn ask(&self, datagram: &[u8]) -> Result<Vec<Message>, HostCause> {
        let mut kept = self.0.lock().await;
        let mut socket = match kept.take() {
            Some(socket) => socket,
            None => {
                let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
                socket.socket_mut().bind_auto()?;
                socket
            }
        };
        let answer = exchange(&mut socket, datagram).await;
        // After an error more may come, which the next request would take for its own answer.
        if answer.is_ok() {
            *kept = Some(socket);
        }
        answer
    }
}

/// Sends a datagram and receives what comes until its outcome.
async fn exchange(socket: &mut TokioSocket, datagram: &[u8]) -> Result<Vec<Message>, HostCause> {
    timed(socket.send_to(datagram, &SocketAddr::new(0, 0))).await?;
    let mut messages = Vec::new();
    let mut buffer = Vec::with_capacity(LONGEST);
    loop {
        buffer.clear();
        timed(socket.recv_from(&mut buffer)).await?;
        for (_, message) in parse(&buffer) {
            match message.kind {
                ERROR => return outcome(&message.body).map(|()| messages),
                _ => messages.push(message),
            }
        }
    }
}

async fn timed<T>(answer: impl Future<Output = io::Result<T>>) -> Result<T, HostCause> {
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(HostCause::TimedOut {
            seconds: TIMEOUT.as_secs(),
        }),
    }
}

async fn ask(
    protocol: isize,
    kind: u16,
    flags: u16,
    body: &[u8],
    is_wanted: impl Fn(&Message) -> bool,
) -> Result<Vec<Message>, HostCause> {
    let mut socket = TokioSocket::new(protocol)?;
    socket.socket_mut().bind_auto()?;
    let (request, kernel) = (request(kind, flags, body), SocketAddr::new(0, 0));
    timed(socket.send_to(&request, &kernel)).await?;
    let mut messages = Vec::new();
    loop {
        let (datagram, _) = timed(socket.recv_from_full()).await?;
        for (head, message) in parse(&datagram) {
            if head & INTERRUPTED != 0 {
                return Err(HostCause::errno(errno::EINTR));
            }
            match message.kind {
                // A list that could not be made says so at its end.
                DONE => return outcome(&message.body).map(|()| messages),
                ERROR => return outcome(&message.body).map(|()| messages),
                _ if is_wanted(&message) => messages.push(message),
                _ => {}
            }
        }
    }
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 8]);
    out.extend(body);
    out
}

/// Flags and message of each part of a datagram; what is cut short ends the list.
pub(crate) fn parse(datagram: &[u8]) -> Vec<(u16, Message)> {
    let mut rest = datagram;
    let mut out = Vec::new();
    while let (Some(length), Some(kind), Some(flags)) =
        (u32_at(rest, 0), u16_at(rest, 4), u16_at(rest, 6))
    {
        let length = length as usize;
        let Some(body) = rest.get(HEADER..length) else {
            break;
        };
        out.push((
            flags,
            Message {
                kind,
                body: body.to_vec(),
            },
        ));
        rest = rest.get(align(length)..).unwrap_or_default();
    }
    out
}

fn outcome(body: &[u8]) -> Result<(), HostCause> {
    match u32_at(body, 0).map(u32::cast_signed) {
        Some(0..) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.wrapping_neg()).into()),
        None => Err(HostCause::Answer {
            what: "netlink gave no outcome",
        }),
    }
}

const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// A number in the host's byte order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A number in the host's byte order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: the type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const TYPE: u16 = 0x3fff;

pub(crate) fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(align(out.len()), 0);
}

/// Appends an attribute that holds attributes.
pub(crate) fn nest(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    put(out, kind | NESTED, &inner);
}

/// Attributes with their type, in order; what is cut short ends the list.
pub(crate) fn attributes(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut rest = bytes;
    let mut out = Vec::new();
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let Some(value) = rest.get(4..usize::from(length)) else {
            break;
        };
        out.push((kind & TYPE, value));
        rest = rest.get(align(usize::from(length))..).unwrap_or_default();
    }
    out
}

/// The first attribute of a type.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .into_iter()
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

#[cfg(test)]
pub(crate) mod testing {
    /// Bytes from hex text.
    pub(crate) fn bytes(hex: &str) -> Vec<u8> {
        hex.trim()
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
