//! Channels that carry the latest value.

use tokio::sync::watch;

/// Sends a value where the channel has another one.
pub(crate) fn send_other<T: PartialEq>(to: &watch::Sender<T>, value: T) {
    to.send_if_modified(|current| {
        let is_other = *current != value;
        *current = value;
        is_other
    });
}
