//! Userspace WireGuard as a process of its own.
//!
//! The agent makes a persistent TUN and drops a file of the same name into `RUN_DIR/tunnels/`;
//! this process opens the TUN, speaks WireGuard on it, and takes its configuration from whoever
//! may open `RUN_DIR/wireguard/<name>.sock`. It knows nothing else: no keys on disk, no addresses,
//! no routes. A restarted agent finds the tunnel working; a restarted tunnel process finds the
//! TUN, its addresses and its routes in place and waits to be configured again.

mod alive;
mod backoff;
mod device;
mod error;
mod health;
mod name;
mod requests;
mod session;
mod socket;
mod supervisor;
mod transport;
mod tun;

pub use alive::silent;
pub use error::{FolderError, SessionError};
pub use name::{NameError, TunnelName};
pub use requests::RequestFolder;
pub use supervisor::{RunDir, run};
