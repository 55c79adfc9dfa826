//! Two hosts joined by a veth, each with a TUN and a tunnel process of its own.

mod namespace;
mod tunnel;
mod uapi;

pub(crate) use namespace::{Namespace, pair};
pub(crate) use tunnel::TunnelProcess;
pub(crate) use uapi::{Keys, configure};

use std::time::{Duration, Instant};

/// Polls until `done` is true; the message says what did not happen.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "did not happen in 10 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
