//! Connections that are begun at once and waited for elsewhere.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

use crate::lab::traffic::names::number::other;

/// How long a connection may take, packets that are lost included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the world repeats who has asked.
const ECHO: u16 = 7;

/// A connection whose first packet has left.
pub(super) struct Connecting {
    pub(super) to: SocketAddr,
    /// No answer has named its address.
    pub(super) is_other: bool,
    stream: io::Result<TcpStream>,
}

impl Connecting {
    /// Connections to the address of a number's name and to one that no answer has named.
    pub(super) fn pair(number: u32, address: IpAddr) -> [Self; 2] {
        [(address, false), (other(number), true)].map(|(address, is_other)| {
            let to = SocketAddr::new(address, ECHO);
            let stream = begin(to);
            Self {
                to,
                is_other,
                stream,
            }
        })
    }

    /// Waits until a question is answered.
    pub(super) fn end(self) -> io::Result<()> {
        let mut stream = self.stream?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Waits for the connection (tcp(7)).
        stream.write_all(b"x\n")?;
        match stream.read(&mut [0; 64])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn begin(to: SocketAddr) -> io::Result<TcpStream> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}
