//! Why a run runs: in the log line and as a metric label.

use std::fmt;

/// Why a run runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activation {
    /// The agent has just started.
    Startup,
    IntentChanged,
    /// Root asked on the socket, or the operator by a new term.
    Asked,
    /// A pod came or went.
    BindingChanged,
    /// The kernel said that something changed.
    HostChanged,
    /// A probe of an exit found something else.
    ProbeChanged,
    Timer,
    /// A step failed for a reason that passes.
    Retry,
}

impl Activation {
    /// Whether runs for this cause count changes by other programs. A probe may meet such a change before the kernel's event
    /// comes; a tunnel process sends no events; and a change between the two readings of a run is met first by its retry.
    #[must_use]
    pub const fn looks_for_drift(self) -> bool {
        match self {
            Self::Timer | Self::HostChanged | Self::ProbeChanged | Self::Retry => true,
            Self::Startup | Self::IntentChanged | Self::Asked | Self::BindingChanged => false,
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::IntentChanged => "intent-changed",
            Self::Asked => "asked",
            Self::BindingChanged => "binding-changed",
            Self::HostChanged => "host-changed",
            Self::ProbeChanged => "probe-changed",
            Self::Timer => "timer",
            Self::Retry => "retry",
        })
    }
}
