//! A client of the configuration protocol, as small as it can be.

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
};

use x25519_dalek::{PublicKey, StaticSecret};

/// A key pair in the protocol's hexadecimal notation.
pub(crate) struct Keys {
    pub(crate) private: String,
    pub(crate) public: String,
}

impl Keys {
    /// The same number gives the same keys.
    pub(crate) fn of(number: u8) -> Self {
        let private = StaticSecret::from([number; 32]);
        Self {
            public: hex(PublicKey::from(&private).as_bytes()),
            private: hex(&private.to_bytes()),
        }
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Sends one request and gives the whole answer.
pub(crate) fn configure(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .write_all(format!("{request}\n\n").as_bytes())
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
