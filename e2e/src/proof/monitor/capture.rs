//! The packet socket (packet(7)) on the LAN's bridge.
//!
//! It is bound to no interface: every frame comes twice, when it enters by one port and, marked as outgoing, when it
//! leaves by another. Frames are taken where they enter, before the bridge and any nft rule of the LAN see them.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::net::if_::if_indextoname;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrStorage, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal};

use crate::lab::LabError;
use crate::lab::topology::OUTSIDERS;
use crate::proof::monitor::flows::{Flows, Uplink};
use crate::proof::monitor::frame;
use crate::proof::monitor::log::{Key, Writer};

/// Room for packets that wait to be read: half a second of 400 000 packets.
const BUFFER: usize = 256 << 20;

/// How many packets are read before a waiting client is answered.
const BURST: usize = 512;

/// Ports from here on are ephemeral (`net.ipv4.ip_local_port_range`).
const FIRST_EPHEMERAL: u16 = 32768;

/// An interface of the LAN's namespace.
#[derive(Clone, Debug)]
enum Port {
    /// The world, the control plane, a host: what they send is not a node's.
    Outsider,
    /// A node, or what somebody has plugged in besides.
    Sender(String),
    /// Frames come by the bridge itself when they have come by a port.
    Bridge,
}

/// The packet socket and what has been seen by it.
pub(crate) struct Capture {
    fd: OwnedFd,
    ports: BTreeMap<usize, Port>,
    flows: Flows,
    log: Writer,
    buffer: Vec<u8>,
    /// Packets that the kernel had no room for.
    pub(crate) dropped: u64,
}

/// What a burst of reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burst {
    /// Nothing waits any more.
    Drained,
    /// More may wait; the last packet read has this time stamp.
    Until(i64),
}

impl Capture {
    /// Opens the socket in the network namespace of the calling thread.
    pub(crate) fn open(nodes: BTreeMap<String, Uplink>, log: Writer) -> Result<Self, LabError> {
        let act = "open a packet socket";
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            flags,
            SockProtocol::EthAll,
        );
        let fd = fd.map_err(LabError::system(act))?;
        setsockopt(&fd, sockopt::RcvBufForce, &BUFFER).map_err(LabError::system(act))?;
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true).map_err(LabError::system(act))?;
        setsockopt(&fd, sockopt::RxqOvfl, &1).map_err(LabError::system(act))?;
        let wait = TimeVal::new(0, 5000);
        setsockopt(&fd, sockopt::ReceiveTimeout, &wait).map_err(LabError::system(act))?;
        Ok(Self {
            fd,
            ports: BTreeMap::new(),
            flows: Flows::new(nodes),
            log,
            buffer: vec![0; frame::SNAP],
            dropped: 0,
        })
    }

    /// Reads what waits, at most one burst.
    pub(crate) fn read(&mut self) -> Result<Burst, LabError> {
        let mut last = 0;
        for _ in 0..BURST {
            match self.read_one() {
                Ok(Some(time)) => last = time,
                Ok(None) => return Ok(Burst::Drained),
                Err(error) => return Err(error),
            }
        }
        Ok(Burst::Until(last))
    }

    /// Puts everything on disk and answers how many packets there are.
    pub(crate) fn flush(&mut self) -> Result<u64, LabError> {
        self.log.flush()
    }

    fn read_one(&mut self) -> Result<Option<i64>, LabError> {
        let mut control = nix::cmsg_space!(TimeSpec, u32);
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let message = recvmsg::<SockaddrStorage>(
            self.fd.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        );
        let message = match message {
            Ok(message) => message,
            // A port that goes down (its node was taken away) is told to every packet socket.
            Err(nix::Error::EAGAIN | nix::Error::EINTR | nix::Error::ENETDOWN) => return Ok(None),
            Err(source) => {
                return Err(LabError::System {
                    act: "read from the packet socket".to_owned(),
                    source,
                });
            }
        };
        let mut time = 0;
        for control in message
            .cmsgs()
            .map_err(LabError::system("read a packet's time stamp"))?
        {
            match control {
                ControlMessageOwned::ScmTimestampns(stamp) => {
                    time = stamp.tv_sec() * 1_000_000_000 + stamp.tv_nsec()
                }
                ControlMessageOwned::RxqOvfl(dropped) => self.dropped = u64::from(dropped),
                _ => {}
            }
        }
        let (length, address) = (message.bytes, message.address);
        let link = address.as_ref().and_then(SockaddrStorage::as_link_addr);
        let link = link.filter(|link| link.pkttype() != libc::PACKET_OUTGOING);
        if let Some(index) = link.map(|link| link.ifindex()) {
            self.count(time, index, length)?;
        }
        Ok(Some(time))
    }

    fn count(&mut self, time: i64, index: usize, length: usize) -> Result<(), LabError> {
        let Some(packet) = frame::parse(self.buffer.get(..length).unwrap_or(&self.buffer)) else {
            return Ok(());
        };
        let node = match self.ports.entry(index).or_insert_with(|| port(index)) {
            Port::Bridge => return Ok(()),
            Port::Outsider => {
                self.flows.arrived(&packet, time);
                return Ok(());
            }
            Port::Sender(name) => name.clone(),
        };
        let kind = self.flows.left(&node, &packet, time);
        let (source, destination, protocol) = (packet.source, packet.destination, packet.protocol);
        let to = packet.ports.map_or(0, |(_, to)| to);
        let port = if to < FIRST_EPHEMERAL { to } else { 0 };
        self.log.add(
            time,
            Key {
                node,
                source,
                destination,
                protocol,
                port,
                kind,
            },
        )
    }
}

/// What an interface of the LAN's namespace is; one that has gone meanwhile keeps its number for a name.
fn port(index: usize) -> Port {
    let number = libc::c_uint::try_from(index).unwrap_or_default();
    let name = if_indextoname(number).ok();
    let name = name.and_then(|name| name.into_string().ok());
    match name.as_deref() {
        Some("br0" | "lo") => Port::Bridge,
        Some(name) if OUTSIDERS.contains(&name) => Port::Outsider,
        _ => Port::Sender(name.unwrap_or_else(|| format!("port {index}"))),
    }
}
