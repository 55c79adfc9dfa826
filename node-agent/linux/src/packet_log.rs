//! Packets that rules of records log, by nflog.

use std::time::Duration;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload, ParseableParametrized as _};
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigFlags, ConfigMode, PacketNla, ULogMessage, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, TokioSocket};
use pnet_packet::Packet as _;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::{ExtensionPacket, FragmentPacket, Ipv6Packet};
use postern_host::error::{HostCause, errno};
use postern_plan::host::LoggedPacket;
use postern_plan::ruleset::rule::alone;
use postern_plan::ruleset::{FirewallRule, MatchField, RECORD_GROUP, RECORDED_BYTES, Target};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::firewall::run;
use crate::netlink::{Message, parse};

/// The kernel gives packets together, and keeps none for longer than this.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// For the answer to the request to read the group.
const PATIENCE: Duration = Duration::from_secs(5);
/// From a failure to the next attempt to read the group; twice as long each time, because an attempt starts a process of nft.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Of the agent that reads them; what does not fit waits in the socket, and is counted when that is full.
const ROOM: usize = 1024;
/// `(NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET`.
const PACKET: u16 = 4 << 8;
/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

/// What the log gives, in the order of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketLogEvent {
    /// The group is read from now on.
    Begun,
    Packet(LoggedPacket),
    /// The kernel dropped the entries of so many packets, because they were not read in time.
    Lost(u32),
    /// The group cannot be read, or is not read any more. How many packets are missed is not known.
    Missing,
}

/// Reads the group of the ruleset's records in a task of its own, in the namespace of the runtime's threads, until the receiver is
/// dropped. A kernel that cannot log packets, and a group that another program reads, are tried again.
#[must_use]
pub fn read_packet_log() -> mpsc::Receiver<PacketLogEvent> {
    let (sender, receiver) = mpsc::channel(ROOM);
    tokio::spawn(keep_reading(sender));
    receiver
}

async fn open() -> Result<TokioSocket, HostCause> {
    let socket = bind().await?;
    rehearse().await?;
    Ok(socket)
}

/// Does nft take the rules of records? Each of their expressions is an option of the kernel of its own (`CONFIG_NFT_LOG`,
/// `CONFIG_NFT_LIMIT`), and one that is missing would refuse the batch with the guard.
async fn rehearse() -> Result<(), HostCause> {
    let over = FirewallRule::to(Target::Return).when(alone(MatchField::OverRecords));
    let record = FirewallRule::to(Target::Record("record".to_owned()));
    let mut batch =
        "add table inet postern_records\nadd chain inet postern_records record\n".to_owned();
    for rule in [over, record] {
        batch.push_str(&format!("add rule inet postern_records record {rule}\n"));
    }
    run::rehearse(&batch).await
}

async fn bind() -> Result<TokioSocket, HostCause> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind_auto()?;
    let settings = vec![
        ConfigCmd::Bind.into(),
        ConfigMode::new_packet(u32::from(RECORDED_BYTES)).into(),
        ConfigFlags::SEQ.into(),
        netlink_packet_netfilter::nflog::Timeout::from(LONGEST_WAIT).into(),
    ];
    let request = config_request(NetfilterProtoFamily::Unspec, RECORD_GROUP, settings);
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket
        .send_to(&bytes, &netlink_sys::SocketAddr::new(0, 0))
        .await?;
    loop {
        let answer = timeout(PATIENCE, socket.recv_from_full()).await;
        let (answer, _) = answer.map_err(|_| HostCause::TimedOut {
            seconds: PATIENCE.as_secs(),
        })??;
        let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&answer);
        // Packets of rules that were there before may come before the answer.
        if let Ok(NetlinkPayload::Error(error)) = answer.map(|answer| answer.payload) {
            return match error.code {
                None => Ok(socket),
                Some(code) => Err(HostCause::errno(code.get().abs())),
            };
        }
    }
}

async fn keep_reading(sender: mpsc::Sender<PacketLogEvent>) {
    let (mut pause, mut noted) = (FIRST_PAUSE, None);
    loop {
        let begun = Instant::now();
        let failed = match open().await {
            Ok(socket) => {
                noted = None;
                if sender.send(PacketLogEvent::Begun).await.is_err() {
                    return;
                }
                pass_on(socket, &sender).await
            }
            Err(cause) => Some(cause),
        };
        if sender.send(PacketLogEvent::Missing).await.is_err() {
            return;
        }
        if failed.is_some() && failed != noted {
            let error = failed.as_ref().map(|cause| cause as &dyn std::error::Error);
            tracing::warn!(
                error,
                "the kernel's log of packets cannot be read: no decision about a packet is recorded"
            );
            noted = failed;
        }
        if begun.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = sender.closed() => return,
        }
    }
}

/// Why the reading ended; none: the receiver is gone.
async fn pass_on(socket: TokioSocket, sender: &mpsc::Sender<PacketLogEvent>) -> Option<HostCause> {
    let mut next = Some(0);
    loop {
        let datagram = tokio::select! {
            received = socket.recv_from_full() => match received {
                Ok((datagram, _)) => datagram,
                // The numbers of the packets show how many were lost.
                Err(error) if error.raw_os_error() == Some(errno::ENOBUFS) => continue,
                Err(error) => return Some(error.into()),
            },
            () = sender.closed() => return None,
        };
        for (_, message) in parse(&datagram) {
            let Some((number, packet)) = logged(&message) else {
                continue;
            };
            let lost = number
                .zip(next)
                .map_or(0, |(number, next): (u32, u32)| number.wrapping_sub(next));
            next = number.map(|number| number.wrapping_add(1)).or(next);
            let lost = (lost > 0).then_some(PacketLogEvent::Lost(lost));
            let packet = packet.map(PacketLogEvent::Packet);
            for event in lost.into_iter().chain(packet) {
                if sender.send(event).await.is_err() {
                    return None;
                }
            }
        }
    }
}

/// The number and the packet of a message; none: it is another message.
fn logged(message: &Message) -> Option<(Option<u32>, Option<LoggedPacket>)> {
    if message.kind != PACKET {
        return None;
    }
    let attributes = message.body.get(NFGENMSG..)?;
    let Ok(ULogMessage::Packet(attributes)) = ULogMessage::parse_with_param(attributes, 0) else {
        return None;
    };
    let (mut number, mut name, mut payload) = (None, None, None);
    for attribute in attributes {
        match attribute {
            PacketNla::Seq(sequence) => number = Some(sequence),
            PacketNla::Prefix(prefix) => name = prefix.into_string().ok(),
            PacketNla::Payload(bytes) => payload = Some(bytes),
            _ => {}
        }
    }
    let packet = name.zip(payload);
    let packet = packet.and_then(|(name, payload)| read(name, &payload));
    Some((number, packet))
}

fn read(name: String, bytes: &[u8]) -> Option<LoggedPacket> {
    match bytes.first()? >> 4 {
        4 => {
            let packet = Ipv4Packet::new(bytes)?;
            let protocol = packet.get_next_level_protocol().0;
            let header = usize::from(packet.get_header_length()) * 4;
            let is_first = packet.get_fragment_offset() == 0;
            Some(LoggedPacket {
                name,
                source: packet.get_source().into(),
                destination: packet.get_destination().into(),
                protocol,
                ports: is_first
                    .then(|| ports(protocol, bytes.get(header..)?))
                    .flatten(),
                length: known(packet.get_total_length(), 0),
            })
        }
        6 => {
            let packet = Ipv6Packet::new(bytes)?;
            let transport = transport(packet.get_next_header().0, packet.payload());
            Some(LoggedPacket {
                name,
                source: packet.get_source().into(),
                destination: packet.get_destination().into(),
                protocol: transport.0,
                ports: transport.1,
                length: known(packet.get_payload_length(), 40),
            })
        }
        _ => None,
    }
}

/// A length with that of the header before it. 0 stands for one that the field does not hold (RFC 2675, BIG TCP).
fn known(length: u16, header: u32) -> Option<u32> {
    (length > 0).then(|| u32::from(length) + header)
}

/// The protocol behind extension headers (RFC 8200, section 4), as far as the kernel gave of them, and its ports.
fn transport(mut protocol: u8, mut rest: &[u8]) -> (u8, Option<(u16, u16)>) {
    loop {
        let next = match pnet_packet::ip::IpNextHeaderProtocol(protocol) {
            IpNextHeaderProtocols::Hopopt
            | IpNextHeaderProtocols::Ipv6Route
            | IpNextHeaderProtocols::Ipv6Opts => ExtensionPacket::new(rest).map(|header| {
                let length = (usize::from(header.get_hdr_ext_len()) + 1) * 8;
                (header.get_next_header().0, length)
            }),
            IpNextHeaderProtocols::Ipv6Frag => FragmentPacket::new(rest).and_then(|header| {
                let is_first = header.get_fragment_offset_with_flags() >> 3 == 0;
                is_first.then(|| (header.get_next_header().0, 8))
            }),
            _ => return (protocol, ports(protocol, rest)),
        };
        let Some((after, behind)) =
            next.and_then(|(next, length)| Some((next, rest.get(length..)?)))
        else {
            return (protocol, None);
        };
        (protocol, rest) = (after, behind);
    }
}

/// The first four bytes of TCP, UDP and SCTP.
fn ports(protocol: u8, bytes: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d, ..] = *bytes else {
        return None;
    };
    [6, 17, 132]
        .contains(&protocol)
        .then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protocol, ports and length.
    type Found = Option<(u8, Option<(u16, u16)>, Option<u32>)>;

    const FROM: &str = "20010db8000000000000000000000001";
    const TO: &str = "20010db8000000000000000000000002";

    /// The bytes of a text of hexadecimal digits.
    fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn found(text: &str) -> Found {
        let packet = read("here".to_owned(), &bytes(text));
        packet.map(|packet| (packet.protocol, packet.ports, packet.length))
    }

    #[test]
    fn ports_are_read_behind_options_and_extension_headers_and_of_first_fragments_only() {
        // IPv4: 24 bytes of header with an option (RFC 791).
        let udp = "9c400035";
        let with_option = format!(
            "460000400000000040110000{}{}01010101{udp}",
            "0af40102", "cb007107"
        );
        assert_eq!(
            found(&with_option),
            Some((17, Some((40_000, 53)), Some(64)))
        );
        let fragment = format!("450000400000000140110000{}{}{udp}", "0af40102", "cb007107");
        assert_eq!(found(&fragment), Some((17, None, Some(64))));
        let six = |next: &str, rest: &str| found(&format!("600000000018{next}40{FROM}{TO}{rest}"));
        assert_eq!(six("11", udp), Some((17, Some((40_000, 53)), Some(64))));
        // Hop-by-hop options, and a first and a later fragment (RFC 8200, sections 4.3 and 4.5).
        let options = format!("1100010400000000{udp}");
        assert_eq!(
            six("00", &options),
            Some((17, Some((40_000, 53)), Some(64)))
        );
        let first = format!("1100000100000001{udp}");
        assert_eq!(six("2c", &first), Some((17, Some((40_000, 53)), Some(64))));
        let later = format!("1100000900000001{udp}");
        assert_eq!(six("2c", &later), Some((44, None, Some(64))));
        // What the kernel cut off is not made up.
        assert_eq!(six("00", "11"), Some((0, None, Some(64))));
        assert_eq!(six("3a", "80000000"), Some((58, None, Some(64))));
        assert_eq!(found(""), None);
        assert_eq!(found("50"), None);
    }
}
