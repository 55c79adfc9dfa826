//! What a pod sends at a rate.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};

/// Whether each datagram is a connection of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    One,
    ForEach,
}

/// What a pod sends.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) pod: usize,
    pub(super) per_second: u32,
    pub(super) flow: Flow,
    pub(super) bytes: usize,
    pub(super) family: usize,
}

/// Sends what is due each millisecond.
pub(super) fn flood(to: SocketAddr, stream: Stream, stop: &AtomicBool, sent: &AtomicU64) {
    let any = |port: u16| -> SocketAddr {
        match to {
            SocketAddr::V4(_) => ([0, 0, 0, 0], port).into(),
            SocketAddr::V6(_) => ([0_u16; 8], port).into(),
        }
    };
    let payload = vec![0; stream.bytes];
    let (begin, mut due, mut done) = (Instant::now(), 0, 0_u64);
    let one = UdpSocket::bind(any(0)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        while done < due && !stop.load(Ordering::Relaxed) {
            let (tried, taken) = match stream.flow {
                Flow::One => {
                    let count = (due - done).min(BATCH);
                    (count, send_batch(&one, to, &payload, count))
                }
                Flow::ForEach => {
                    let port = 10_000 + u16::try_from(done % 50_000).unwrap();
                    let socket = match UdpSocket::bind(any(port)) {
                        Ok(socket) => socket,
                        Err(_) => UdpSocket::bind(any(0)).unwrap(),
                    };
                    (1, u64::from(socket.send_to(&payload, to).is_ok()))
                }
            };
            sent.fetch_add(taken, Ordering::Relaxed);
            done += tried;
        }
        thread::sleep(Duration::from_millis(1));
        let elapsed = begin.elapsed().as_secs_f64() * f64::from(stream.per_second);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number of packets"
        )]
        {
            due = elapsed as u64;
        }
    }
}

/// Packets that are given to the kernel by one system call.
const BATCH: u64 = 64;

/// Sends so many packets by sendmmsg(2); answers how many the kernel took.
fn send_batch(socket: &UdpSocket, to: SocketAddr, payload: &[u8], count: u64) -> u64 {
    let count = usize::try_from(count).unwrap();
    let mut headers = MultiHeaders::preallocate(count, None);
    let parts = vec![[IoSlice::new(payload)]; count];
    let addresses = vec![Some(SockaddrStorage::from(to)); count];
    let flags = MsgFlags::empty();
    let taken = sendmmsg(
        socket.as_raw_fd(),
        &mut headers,
        &parts,
        &addresses,
        [],
        flags,
    );
    taken.map_or(0, |taken| u64::try_from(taken.count()).unwrap())
}
