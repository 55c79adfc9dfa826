//! Probes of exits: a gateway is asked for an echo by the tunnel, resolvers for an answer through the exit. They find what
//! no reading of this node's kernel shows: a path that drops packets while all objects are as they should be.
//!
//! | module | for |
//! |---|---|
//! | `echo` | one echo by the tunnel |
//! | `task` | what is asked, when, and what is made of the answers |

mod echo;
mod task;

use postern_agent_core::ProbeResults;
use postern_intent::IfName;
use postern_plan::desired::ProbePlan;
use tokio::sync::{mpsc, watch};

pub use task::start;

/// What probes tell the agent.
#[derive(Debug)]
pub enum ProbeNews {
    /// Something is known now that was not known before.
    Results(ProbeResults),
    /// The other end of this device has been silent for a while: its session may be dead.
    Silent(IfName),
}

/// The agent's end.
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

/// Where news come from where nobody probes.
#[must_use]
pub fn no_news() -> mpsc::Receiver<ProbeNews> {
    mpsc::channel(1).1
}
