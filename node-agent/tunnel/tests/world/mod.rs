//! Two hosts joined by a veth, each with a TUN and a tunnel process of its own.

mod namespace;
mod tunnel;
mod uapi;

pub(crate) use namespace::{Namespace, pair};
pub(crate) use tunnel::TunnelProcess;
pub(crate) use uapi::{Keys, configure};

use std::time::Duration;

/// Polls until `done` is true; the message says what did not happen.
pub(crate) fn eventually(what: &str, done: impl FnMut() -> bool) {
    postern_host_testing::patience::eventually(Duration::from_secs(10), what, done);
}
