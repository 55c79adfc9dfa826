//! The agent's persistent TUN, opened by name and never made, changed or deleted here.

use std::{io, sync::Arc};

use gotatun::{
    packet::{Ip, Packet, PacketBufPool},
    tun::{IpRecv, IpSend, MtuWatcher},
};
use nix::{errno::Errno, net::if_::if_nametoindex};
use tokio::{sync::watch, task::JoinHandle, time::Duration};
use tun_rs::{AsyncDevice, DeviceBuilder};

use crate::{SessionError, TunnelName, health::TransportHealth};

/// The agent may change the MTU of a tunnel in use; the library only reads it.
const MTU_POLL: Duration = Duration::from_secs(3);

/// An open TUN. The kernel lets one process at a time attach to it.
#[derive(Clone)]
pub(crate) struct Tun {
    device: Arc<AsyncDevice>,
    health: TransportHealth,
    mtu: watch::Receiver<u16>,
    _mtu_poll: Arc<MtuPoll>,
}

struct MtuPoll(JoinHandle<()>);

impl Drop for MtuPoll {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The index of the interface of that name in this network namespace.
pub(crate) fn index_of(name: &TunnelName) -> Option<u32> {
    if_nametoindex(name.as_str()).ok()
}

impl Tun {
    /// Opens the TUN that has this index.
    ///
    /// `TUNSETIFF` makes an interface when there is none of that name, so the index is compared
    /// afterwards: an interface that came to be by our own call is not persistent and goes with
    /// the descriptor that is dropped here.
    pub(crate) fn open(
        name: &TunnelName,
        index: u32,
        health: TransportHealth,
    ) -> Result<Self, SessionError> {
        let device = DeviceBuilder::new()
            .name(name.as_str())
            .inherit_enable_state()
            .build_async()
            .map_err(refused)?;
        match device.if_index() {
            Ok(found) if found == index => {}
            _ => return Err(SessionError::Replaced),
        }
        let mtu = device
            .mtu()
            .map_err(|source| SessionError::Mtu { source })?;
        let (sender, receiver) = watch::channel(mtu);
        let device = Arc::new(device);
        let poll = tokio::spawn(follow_mtu(Arc::clone(&device), sender));
        Ok(Self {
            device,
            health,
            mtu: receiver,
            _mtu_poll: Arc::new(MtuPoll(poll)),
        })
    }
}

fn refused(source: io::Error) -> SessionError {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EBUSY) => SessionError::Busy,
        _ => SessionError::Open { source },
    }
}

async fn follow_mtu(device: Arc<AsyncDevice>, mtu: watch::Sender<u16>) {
    loop {
        tokio::time::sleep(MTU_POLL).await;
        let Ok(now) = device.mtu() else { return };
        mtu.send_if_modified(|known| std::mem::replace(known, now) != now);
    }
}

impl IpSend for Tun {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        match self.device.send(&packet.into_bytes()).await {
            // A TUN that is down answers EIO to every packet (drivers/net/tun.c, tun_get_user):
            // the packet is lost as it would be on any link that is down, and the library would
            // log each one as an error.
            Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(()),
            Err(error) => {
                self.health.note_tun(&error);
                Err(error)
            }
            Ok(_) => Ok(()),
        }
    }
}

impl IpRecv for Tun {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        loop {
            let mut packet = pool.get();
            let mtu = usize::from(*self.mtu.borrow());
            if packet.buf_mut().len() < mtu {
                packet.buf_mut().resize(mtu, 0);
            }
            let received = self.device.recv(packet.buf_mut()).await;
            let length = received.inspect_err(|error| self.health.note_tun(error))?;
            packet.truncate(length);
            // What is not IP is not for a tunnel; the next packet may be.
            if let Ok(packet) = packet.try_into_ip() {
                return Ok(std::iter::once(packet));
            }
        }
    }

    fn mtu(&self) -> MtuWatcher {
        MtuWatcher::from(self.mtu.clone())
    }
}
