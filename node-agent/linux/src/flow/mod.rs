//! Connection tracking.

mod entry;
mod wire;
