//! What the node agent concludes from what it knows and what it read back.
//!
//! Nothing here reads a clock, a file or a socket, and nothing here changes a host: the agent's loop reads, calls these
//! functions with what it read, and carries out and reports what they answer.
//!
//! | module | for |
//! |---|---|
//! | [`circuit`] | whether a resolver is asked |
//! | [`session_health`] | whether the server of an external exit answers |
//! | [`tunnel_health`] | whether the other end of a tunnel answers |
//! | [`egress`] | which egress addresses the node has, and for how long |
//! | [`exit_choice`] | which gateway of an exit the node uses |
//! | [`exit_loss`] | since when a scope's exit is lost, and when its uplink may open |
//! | [`isolation`] | which uplink may be up, and the way from one to another |
//! | [`limit_use`] | what pods have left of their limits |
//! | [`read_back`] | what the kernel shows, and for which body it was read |
//! | [`report`] | conditions and status of the report |
//! | [`probe`] | what probes of exits found |
//! | [`scope_reading`], [`scope_status`] | what was read back of a scope, and its status by that |
//! | [`posture`] | what the kernel lets pass for a scope |

pub mod circuit;
pub mod egress;
pub mod exit_choice;
pub mod exit_loss;
pub mod isolation;
pub mod limit_use;
pub mod posture;
pub mod probe;
pub mod read_back;
pub mod records;
pub mod report;
pub mod scope_reading;
pub mod scope_status;
pub mod session_health;
pub mod tunnel_health;

pub use circuit::{CircuitBreaker, CircuitPass, CircuitState};
pub use exit_choice::{ExitChoice, ExitChoices};
pub use exit_loss::{ExitLoss, ExitReading};
pub use probe::{
    AnswerTrack, GatewayAnswer, GatewayReach, ProbeAnswer, ProbeCount, ProbeResults, SilenceLimit,
};
pub use read_back::{Carried, GuardReading, PartialReading, ReadBack, UnreadPart};
pub use scope_reading::ScopeReading;
pub use scope_status::{BlockCause, ScopeStatus};
pub use tunnel_health::TunnelHealth;
