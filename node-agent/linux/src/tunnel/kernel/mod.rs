//! Devices of kind `wireguard`, by generic netlink (`include/uapi/linux/wireguard.h`).

mod device;
mod wire;

pub(super) use device::{configure, read, remove_peer};
