//! The finding for the report. Isolation and selection are two statements: a node with one uplink up that is not the wanted one is
//! `RolledBack`, and one with two up is never compliant.

use postern_crds::conditions::Reason;
use postern_crds::node_report::IsolationState;
use postern_intent::IfName;
use postern_intent::body::RadioRule;
use postern_plan::desired::UplinkGuard;
use postern_plan::host::LinkMedium;

use super::domain::{LinkDomain, Uplink};
use super::inputs::{IsolationInputs, RemoteUse};
use super::memory::{AllowedUplinks, Confirmation, IsolationMemory, SwitchFailure, SwitchPhase};

/// The state of the isolation by one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationFinding {
    pub state: IsolationState,
    pub reason: Reason,
    pub message: String,
    /// Links that may be up.
    pub uplinks: Vec<String>,
    /// By what packets may leave; none while nothing is enforced.
    pub guard: Option<UplinkGuard>,
}

/// A link that is not cut, because it carries a session to the node or the API server's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeldLink {
    pub(super) link: IfName,
    pub(super) used: RemoteUse,
}

/// One finding before it is completed.
type Said = (IsolationState, Reason, String);

pub(super) fn of(
    memory: &IsolationMemory,
    inputs: &IsolationInputs<'_>,
    (domain, uplinks): (&LinkDomain, &[Uplink]),
    held: Option<HeldLink>,
) -> IsolationFinding {
    let rule = memory.phase.allowed();
    let allowed = uplinks
        .iter()
        .filter(|uplink| rule.is_some_and(|rule| rule.allows(&uplink.members)));
    let (state, reason, message) = match held {
        Some(held) => said_of_held(&held),
        None => said(memory, inputs, uplinks),
    };
    IsolationFinding {
        state,
        reason,
        message,
        uplinks: allowed
            .flat_map(|uplink| uplink.members.iter().cloned())
            .collect(),
        guard: rule.map(|rule| UplinkGuard {
            passes: domain.passes(rule, uplinks, inputs.links),
        }),
    }
}

fn said_of_held(held: &HeldLink) -> Said {
    let carries = match held.used {
        RemoteUse::ApiServer => "a connection to the API server",
        RemoteUse::Ssh => "an SSH session",
    };
    let message = format!(
        "{} carries {carries} and would be cut; remoteSafety: Override cuts it",
        held.link
    );
    (IsolationState::Held, Reason::RemoteLinkProtected, message)
}

fn said(memory: &IsolationMemory, inputs: &IsolationInputs<'_>, uplinks: &[Uplink]) -> Said {
    match &memory.phase {
        SwitchPhase::Open => {
            let message = Reason::NoLink.sentence().to_owned();
            (IsolationState::Deviating, Reason::NoLink, message)
        }
        SwitchPhase::Preparing { goal, .. } => {
            let message = format!("before the switch to {goal} it is asked what answers");
            (IsolationState::Switching, Reason::Switching, message)
        }
        SwitchPhase::Isolating { switch } => {
            let up = against(&switch.goal, uplinks);
            let message = format!("{up} goes down before {} comes up", switch.goal);
            (IsolationState::Switching, Reason::Switching, message)
        }
        SwitchPhase::Raising { switch, .. } => {
            let message = format!("{} comes up", switch.goal);
            (IsolationState::Switching, Reason::Switching, message)
        }
        SwitchPhase::Confirming { switch, until } => {
            let message = format!(
                "{} is up and has to be confirmed until {until}",
                switch.goal
            );
            (IsolationState::Confirming, Reason::Confirming, message)
        }
        SwitchPhase::Settled { allowed } => settled(memory, inputs, (allowed, uplinks)),
    }
}

fn settled(
    memory: &IsolationMemory,
    inputs: &IsolationInputs<'_>,
    (allowed, uplinks): (&AllowedUplinks, &[Uplink]),
) -> Said {
    let deviating = |reason, message| (IsolationState::Deviating, reason, message);
    let up = against(allowed, uplinks);
    if !up.is_empty() {
        return deviating(Reason::LinkStuck, format!("{up} is up against {allowed}"));
    }
    let of_rule = |uplink: &&Uplink| allowed.allows(&uplink.members);
    if !uplinks.iter().any(|uplink| of_rule(&uplink)) {
        return deviating(Reason::NoLink, format!("{allowed} is not there"));
    }
    let is_down = |uplink: &Uplink| !uplink.up.contains(&uplink.name);
    if uplinks.iter().filter(of_rule).any(is_down) {
        return deviating(Reason::LinkStuck, format!("{allowed} is not up"));
    }
    let lacking = uplinks.iter().filter(of_rule).flat_map(|one| &one.up);
    let mut lacking = lacking.filter(|name| memory.taken.contains_key(*name));
    if let Some(link) = lacking.next() {
        let message = format!("{link} did not get back the routes and addresses that it had");
        return deviating(Reason::LinkNotRestored, message);
    }
    let mut radios = uplinks
        .iter()
        .filter(|uplink| uplink.medium == LinkMedium::Wireless && !allowed.allows(&uplink.members));
    if inputs.isolation.radios == RadioRule::Blocked
        && let Some(radio) = radios.next()
    {
        let message = format!(
            "{} has a radio, and this version blocks none; rfkill: Ignore leaves radios alone",
            radio.name
        );
        return deviating(Reason::RadioNotBlocked, message);
    }
    let failed = memory.failed.get(&allowed.key());
    if failed.is_some_and(|failed| failed.reason == SwitchFailure::NotConfirmed) {
        let message = format!("{allowed} was not confirmed, and there is no other uplink");
        return deviating(Reason::NotConfirmed, message);
    }
    if let Some(rollback) = &memory.rollback {
        let message = format!(
            "{} was not confirmed within {} s, and {allowed} is in use again",
            rollback.goal, inputs.isolation.confirm_within_seconds
        );
        return (
            IsolationState::RolledBack,
            Reason::SwitchRolledBack,
            message,
        );
    }
    let message = match memory.confirmation {
        Some(Confirmation::Unneeded) => format!(
            "{allowed} is up and no other uplink; nothing answered before the switch, so that nothing confirmed it"
        ),
        Some(Confirmation::Required) | None => format!("{allowed} is up and no other uplink"),
    };
    (IsolationState::Compliant, Reason::Isolated, message)
}

/// Links that are up and should not be.
fn against(rule: &AllowedUplinks, uplinks: &[Uplink]) -> String {
    let others = uplinks
        .iter()
        .filter(|uplink| !rule.allows(&uplink.members));
    let up: Vec<&str> = others
        .flat_map(|uplink| &uplink.up)
        .map(String::as_str)
        .collect();
    up.join(", ")
}
