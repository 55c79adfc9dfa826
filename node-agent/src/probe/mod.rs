//! Probes of exits: gateways are asked for echoes by the tunnel, what is behind them for a connection, resolvers for an
//! answer through the exit. They find what no reading of this node's kernel shows: a path that drops packets while all
//! objects are as they should be.
//!
//! | module | for |
//! |---|---|
//! | `connect` | connections to targets behind a gateway |
//! | `echo` | echoes by the tunnel |
//! | `gateways` | tracks of gateways, and the tasks that ask them |
//! | `resolvers` | counts of resolvers' answers |
//! | `task` | when something is published |

mod connect;
mod echo;
mod gateways;
mod resolvers;
mod task;

use std::collections::BTreeMap;
use std::time::Duration;

use postern_agent_core::ProbeResults;
use postern_intent::IfName;
use postern_plan::desired::ProbePlan;
use tokio::sync::watch;

pub use task::start;

/// The newest results of the probes. A watch channel drops older ones, so that the agent never acts on an outdated result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishedProbes {
    pub results: ProbeResults,
    /// Devices whose gateway in use is silent now: their sessions may be dead.
    pub lost: BTreeMap<IfName, Silence>,
    /// Moves on for as long as something is lost.
    pub round: u32,
}

/// Since when the other end of a device has been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It answered echoes before.
    AfterAnswers,
    /// It never answered one: where it has a session, that may be its way, and the session is left alone.
    Always,
}

/// What came of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was answered after this time.
    Answered(Duration),
    /// It was not, in time.
    Missed,
    /// It could not be asked: no `CAP_NET_RAW`, no device or address, or the guard lets nothing out.
    Unknown,
    /// It was asked so much too late, because this node was busy.
    Late(Duration),
}

#[derive(Debug)]
pub struct ProbeHandle {
    plan: watch::Sender<ProbePlan>,
}

impl ProbeHandle {
    /// Both ends of the plan. Nothing is asked before the agent says what.
    #[must_use]
    pub fn pair() -> (Self, watch::Receiver<ProbePlan>) {
        let (plan, reader) = watch::channel(ProbePlan::default());
        (Self { plan }, reader)
    }

    /// Says what is to be asked, if that changed.
    pub fn update(&self, plan: &ProbePlan) {
        self.plan.send_if_modified(|current| {
            let changed = current != plan;
            if changed {
                current.clone_from(plan);
            }
            changed
        });
    }
}

/// A receiver for agents without probes: it never gets a result.
#[must_use]
pub fn no_probes() -> watch::Receiver<PublishedProbes> {
    watch::channel(PublishedProbes::default()).1
}
