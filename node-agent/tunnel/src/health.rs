//! Whether a device can still work, as seen from below it.
//!
//! The library's own signal cannot be used: while it binds its UDP socket anew (another key, port
//! or mark) it may take its own closing of the TUN's buffer for the loss of the TUN, and the
//! signal cannot be taken back. What counts here are the errors of the TUN and of the UDP socket
//! themselves.

use std::{io, sync::Arc};

use nix::errno::Errno;
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportFault {
    /// The TUN answers that it was deleted.
    Tun,
    /// The UDP socket cannot receive.
    Udp,
    /// No UDP socket could be bound; the error number is for the client that asked.
    Bind(i32),
}

/// Shared by the transports of one device and the session that watches it.
#[derive(Clone)]
pub(crate) struct TransportHealth(Arc<watch::Sender<Option<TransportFault>>>);

impl TransportHealth {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Notes a fault; the first one stays.
    pub(crate) fn note(&self, fault: TransportFault) {
        self.0.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(fault);
            }
            first
        });
    }

    /// Notes that the TUN is gone, if that is what the error says.
    pub(crate) fn note_tun(&self, error: &io::Error) {
        let errno = error.raw_os_error().map(Errno::from_raw);
        if matches!(errno, Some(Errno::EBADFD | Errno::EBADF | Errno::ENODEV)) {
            self.note(TransportFault::Tun);
        }
    }

    /// The error number with which the last bind failed.
    pub(crate) fn bind_error(&self) -> Option<i32> {
        match *self.0.borrow() {
            Some(TransportFault::Bind(errno)) => Some(errno),
            _ => None,
        }
    }

    /// Waits until the TUN or the UDP socket is lost.
    ///
    /// A failed bind is not waited for: the client that asked for it is answered first, and its
    /// connection then ends the session.
    pub(crate) async fn lost(&self) -> TransportFault {
        let mut faults = self.0.subscribe();
        let lost = faults
            .wait_for(|fault| matches!(fault, Some(TransportFault::Tun | TransportFault::Udp)))
            .await;
        match lost {
            Ok(fault) => fault.unwrap_or(TransportFault::Tun),
            // The sender lives in `self`, so this does not come.
            Err(_) => TransportFault::Tun,
        }
    }
}
