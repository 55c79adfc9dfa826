//! The one interpreter of steps. It performs them in the order given and stops at the first that fails; what to do,
//! and in which order, is decided where steps are made. Behaviour does not belong here.

use postern_plan::Step;
use postern_plan::host::AdminState;

use crate::error::{HostError, errno};
use crate::ports::{Host, HostResult};

/// A step that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    pub step: Step,
    pub error: HostError,
}

/// What came of a list of steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// Steps that were done and not undone, in order.
    pub done: Vec<Step>,
    /// The step that failed, if one did: nothing after it was tried.
    pub failed: Option<Failed>,
    /// Steps that took back what had been done to the failed step's device, in the order they ran.
    pub undone: Vec<Step>,
    /// Steps that should have taken something back and failed too.
    pub stuck: Vec<Failed>,
}

/// Performs steps in order until one fails.
///
/// When a step about a device fails, what this call did to the same device directly before it is taken back in
/// reverse order, as far as it has an inverse: a device half made would be adopted as a whole one. Firewall, locks,
/// rules and unreachable routes are about no device and are never taken back: that could open something.
pub async fn apply(host: &impl Host, steps: &[Step]) -> Applied {
    let mut applied = Applied::default();
    for step in steps {
        match perform(host, step).await {
            Ok(()) => {
                match step {
                    // While a gateway is away there are two of these a second.
                    Step::RenewSession(_) => {
                        tracing::debug!(kind = step.kind(), %step, "step done")
                    }
                    _ => tracing::info!(kind = step.kind(), %step, "step done"),
                }
                applied.done.push(step.clone());
            }
            Err(error) => {
                tracing::warn!(kind = step.kind(), %step, error = &error as &dyn std::error::Error, "step failed");
                undo(host, step, &mut applied).await;
                applied.failed = Some(Failed {
                    step: step.clone(),
                    error,
                });
                break;
            }
        }
    }
    applied
}

async fn undo(host: &impl Host, failed: &Step, applied: &mut Applied) {
    let Some(device) = failed.device() else {
        return;
    };
    while applied.done.last().and_then(Step::device) == Some(device) {
        let Some(step) = applied.done.pop() else {
            return;
        };
        let Some(inverse) = step.inverse() else {
            continue;
        };
        match perform(host, &inverse).await {
            Ok(()) => applied.undone.push(inverse),
            Err(error) => applied.stuck.push(Failed {
                step: inverse,
                error,
            }),
        }
    }
}

async fn perform(host: &impl Host, step: &Step) -> HostResult<()> {
    match step {
        Step::Firewall(transaction) => host.change_firewall(transaction).await,
        Step::CutFlows(cut) => host.cut_flows(cut).await.map(drop),
        Step::AddLock(policy) => host.add_lock(policy).await,
        Step::ReplaceLock(policy) => host.replace_lock(policy).await,
        Step::RemoveLock(policy) => gone(host.remove_lock(policy).await),
        Step::AddLink(link) => host.add_link(link).await,
        Step::RemoveLink(link) => {
            // The tunnel process lets go of the device first: a TUN that is held open cannot be made anew. One that
            // hangs does not answer, and its device goes all the same, with everything that is queued in it.
            if let Err(error) = host.dismiss_tunnel(&link.name).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(link = %link.name, error, "the tunnel process does not let go");
            }
            gone(host.remove_link(&link.name).await)
        }
        Step::SetDevice(setting) => host.set_device(setting).await,
        Step::SetMtu(link) => host.set_mtu(&link.name, link.mtu).await,
        Step::SetDown(device) => host.set_state(device, AdminState::Down).await,
        Step::RestoreLink(config) => host.restore_link(config).await,
        Step::SetUp(device) => host.set_state(device, AdminState::Up).await,
        Step::AddAddress { device, address } => host.add_address(device, *address).await,
        Step::RemoveAddress { device, address } => {
            gone(host.remove_address(device, *address).await)
        }
        Step::ConfigureTunnel(config) => host.configure_tunnel(config).await,
        Step::RenewSession(config) => host.renew_session(config).await,
        Step::RemovePeer { device, peer } => host.remove_peer(device, peer).await,
        Step::AddRoute(route) => host.add_route(route).await,
        Step::RemoveRoute(route) => gone(host.remove_route(route).await),
        Step::AddRule(rule) => host.add_rule(rule).await,
        Step::RemoveRule(rule) => gone(host.remove_rule(rule).await),
    }
}

/// What is away already needs no removing: a route, for one, goes with the link that an earlier step removed.
fn gone(outcome: HostResult<()>) -> HostResult<()> {
    match outcome {
        Err(error) if error.errno().is_some_and(|number| AWAY.contains(&number)) => Ok(()),
        other => other,
    }
}

/// The error numbers by which the kernel reports "there is none": of rules and policies, of routes, of links, of
/// addresses.
const AWAY: [i32; 4] = [
    errno::ENOENT,
    errno::ESRCH,
    errno::ENODEV,
    errno::EADDRNOTAVAIL,
];
