//! The outside world: one process that answers on every world address, IPv4 and IPv6, with the source address of the
//! question.

mod datagram;
mod dns;
mod echo;
mod http;
mod listener;
mod numbered;
mod serve;

pub use dns::{Zone, answer};
pub use serve::{resolver, world};

pub(crate) use datagram::Datagrams;
