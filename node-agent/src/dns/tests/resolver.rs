//! A resolver that answers every name with one address and remembers who asked.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use postern_host::ports::TransportProtocol;

/// One question that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) protocol: TransportProtocol,
    pub(super) from: SocketAddr,
    pub(super) id: [u8; 2],
}

/// Names that begin with `silent` get no answer, `big` ones are cut over UDP, `late` ones come
/// after a while, and `forged` ones come after an answer with another id.
#[derive(Clone, Default)]
pub(super) struct Resolver {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Resolver {
    /// Answers with this address on port 53 of these, in the caller's namespace.
    pub(super) fn serve(&self, addresses: &[&str], answer: Ipv4Addr) {
        for address in addresses {
            let address: SocketAddr = (address.parse::<IpAddr>().unwrap(), 53).into();
            let socket = UdpSocket::bind(address).unwrap();
            let listener = TcpListener::bind(address).unwrap();
            let resolver = self.clone();
            thread::spawn(move || resolver.datagrams(&socket, answer));
            let resolver = self.clone();
            thread::spawn(move || resolver.connections(&listener, answer));
        }
    }

    /// Who asked, oldest first.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, protocol: TransportProtocol, from: SocketAddr, query: &[u8]) {
        let id = [query[0], query[1]];
        self.asked
            .lock()
            .unwrap()
            .push(Asked { protocol, from, id });
    }

    fn datagrams(&self, socket: &UdpSocket, address: Ipv4Addr) {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = buffer[..length].to_vec();
            self.note(TransportProtocol::Udp, from, &query);
            let socket = socket.try_clone().unwrap();
            thread::spawn(move || {
                let mut message = answer(&query, address);
                match name_of(&query) {
                    name if name.starts_with("silent") => return,
                    name if name.starts_with("late") => thread::sleep(Duration::from_millis(300)),
                    name if name.starts_with("big") => message[2] |= 0x02,
                    name if name.starts_with("forged") => {
                        let mut forged = answer(&query, Ipv4Addr::new(6, 6, 6, 6));
                        forged[0] ^= 0xff;
                        socket.send_to(&forged, from).unwrap();
                    }
                    _ => {}
                }
                socket.send_to(&message, from).unwrap();
            });
        }
    }

    fn connections(&self, listener: &TcpListener, address: Ipv4Addr) {
        while let Ok((mut stream, from)) = listener.accept() {
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            self.note(TransportProtocol::Tcp, from, &query);
            let message = answer(&query, address);
            let length = u16::try_from(message.len()).unwrap().to_be_bytes();
            stream
                .write_all(&[&length, message.as_slice()].concat())
                .unwrap();
        }
    }
}

/// The name in dotted form.
fn name_of(query: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    labels.join(".")
}

/// The query's question with one address record.
fn answer(query: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let name = match name_of(query).len() {
        0 => 1,
        length => length + 2,
    };
    let end = 12 + name + 4;
    let mut message = query[..end].to_vec();
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend_from_slice(&address.octets());
    message
}
