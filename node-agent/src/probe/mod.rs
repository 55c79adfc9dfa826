//! Probes of exits: a gateway is asked for an echo by the tunnel, resolvers for an answer through the exit. They find what
//! no reading of this node's kernel shows: a path that drops packets while all objects are as they should be.
//!
//! | module | for |
//! |---|---|
//! | `echo` | one echo by the tunnel |
//! | `task` | what is asked, when, and what is made of the answers |

mod echo;
mod task;

use std::collections::BTreeMap;

use postern_agent_core::ProbeResults;
use postern_intent::IfName;
use postern_plan::desired::ProbePlan;
use tokio::sync::watch;

pub use task::start;

/// What probes tell the agent: always the latest, so that nobody acts on what is over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishedProbes {
    pub results: ProbeResults,
    /// Devices whose other end is silent now: their sessions may be dead.
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

/// Where news come from where nobody probes: none ever come.
#[must_use]
pub fn no_probes() -> watch::Receiver<PublishedProbes> {
    watch::channel(PublishedProbes::default()).1
}
