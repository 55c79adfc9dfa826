//! Serves userspace WireGuard devices that the agent names.
