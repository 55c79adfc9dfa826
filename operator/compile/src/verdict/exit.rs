use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_crds::exit_node::GatewayRole;
use postern_intent::body::EgressTerm;
use postern_intent::{ExitName, NodeName};

use super::{
    ClientQuorum, ConcernedNodes, Detail, ExitClientCounts, GatewayLine, PathFaults, Progress,
    Verdict, fresh, silent,
};
use crate::lower::LoweringContext;
use crate::resolve::{ActiveExit, EgressWait, ExitState, SessionLack, SessionOffer};
use crate::settled::SettledNode;
use crate::snapshot::{Freshness, Guard, SnapshotExit};

/// The verdict on one exit.
pub(super) fn verdict(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    exit: &SnapshotExit,
) -> Verdict {
    let state = context.exits.get(&exit.name);
    let active = match state {
        Some(ExitState::Active(active)) => Some(active),
        _ => None,
    };
    let gateway = active.map(|active| GatewayProgress {
        name: active.gateway,
        progress: gateway_progress(context, settled, active.gateway, &exit.name),
    });
    let (clients, sealed) = clients(context, settled, exit);
    let conditions = vec![
        accepted(exit, state),
        resolved(exit, state),
        programmed(gateway, &clients),
        ready(context, exit, gateway, state),
    ];
    let gateways = active.map(|active| gateways(context, settled, exit, active));
    Verdict {
        kind: "ExitNode",
        namespace: None,
        name: exit.name.to_string(),
        generation: Some(exit.generation),
        conditions,
        detail: Detail::Exit {
            gateways: gateways.unwrap_or_default(),
            clients: ExitClientCounts {
                nodes: clients.counts,
                sealed,
            },
        },
    }
}

fn accepted(exit: &SnapshotExit, state: Option<&ExitState<'_>>) -> Finding {
    let kind = ConditionType::Accepted;
    match (&exit.terms, state) {
        (Err(refusal), Some(ExitState::Active(_))) => Finding::no(
            kind,
            refusal.reason,
            format!("{}; what was published stays in force", refusal.message),
        ),
        (Err(refusal), _) => Finding::no(kind, refusal.reason, refusal.message.clone()),
        (Ok(_), Some(ExitState::NoNumber(reason))) => Finding::no(kind, *reason, reason.sentence()),
        (Ok(_), _) => Finding::yes(kind, Reason::Accepted, Reason::Accepted.sentence()),
    }
}

fn resolved(exit: &SnapshotExit, state: Option<&ExitState<'_>>) -> Finding {
    let kind = ConditionType::ResolvedRefs;
    match state {
        Some(ExitState::Active(active)) => {
            let message = format!("the active gateway is {}", active.gateway);
            let selected = exit.selected.as_ref().map(|selected| &selected.node);
            let message = match selected {
                Some(node) if node != active.gateway => {
                    format!("{message}; {node} was selected and cannot be it now")
                }
                Some(_) | None => message,
            };
            Finding::yes(kind, Reason::Resolved, message)
        }
        Some(ExitState::NoGateway) => Finding::no(
            kind,
            Reason::NoEligibleNode,
            Reason::NoEligibleNode.sentence(),
        ),
        Some(ExitState::Off) => {
            Finding::no(kind, Reason::SwitchedOff, Reason::SwitchedOff.sentence())
        }
        Some(ExitState::NoSession(lack)) => no_session(kind, lack),
        _ => Finding::unknown(kind, Reason::Pending, "the exit is not accepted"),
    }
}

fn no_session(kind: ConditionType, lack: &SessionLack) -> Finding {
    let (reason, message) = session_fault(lack);
    Finding::no(kind, reason, message)
}

/// Why no node has the session of an external exit.
pub(super) fn session_fault(lack: &SessionLack) -> (Reason, String) {
    match lack {
        SessionLack::Unread(secret) => (
            Reason::Pending,
            format!(
                "the Secret {secret} was not read yet; see that the API server answers the operator"
            ),
        ),
        SessionLack::NoSecret(secret) => (
            Reason::CredentialMissing,
            format!("there is no Secret {secret} in the operator's namespace"),
        ),
        SessionLack::Malformed { secret, why } => (
            Reason::CredentialMalformed,
            format!("the Secret {secret} cannot be used: {why}"),
        ),
        SessionLack::NoRecipient(node) => (
            Reason::NoCredentialKey,
            format!("{node} has reported no key for credentials that is its own"),
        ),
        SessionLack::Held(node) => (
            Reason::HolderHeld,
            format!(
                "{node} had the session and has not said that it let go; no other node begins before its last intent runs out"
            ),
        ),
    }
}

/// The active gateway and how far it is.
#[derive(Clone, Copy)]
struct GatewayProgress<'a> {
    name: &'a NodeName,
    progress: Progress,
}

impl GatewayProgress<'_> {
    /// What it does not do.
    fn lack(&self) -> Option<String> {
        let name = self.name;
        match self.progress {
            Progress::Programmed => None,
            Progress::Converging => Some(format!("the gateway {name} does not carry it yet")),
            Progress::Stale => Some(format!("{}; it is the gateway", silent(name))),
        }
    }
}

/// Do its client nodes and its gateway carry it?
fn programmed(gateway: Option<GatewayProgress<'_>>, clients: &ConcernedNodes<'_>) -> Finding {
    let kind = ConditionType::Programmed;
    let counted = clients.sentence("client nodes");
    let lack = gateway.and_then(|gateway| gateway.lack());
    let message: Vec<String> = std::iter::once(counted).chain(lack).collect();
    let message = message.join("; ");
    let gateway = gateway.map_or(Progress::Programmed, |gateway| gateway.progress);
    match clients.progress().and(gateway) {
        Progress::Programmed if clients.counts.desired == 0 => {
            Finding::yes(kind, Reason::Unused, Reason::Unused.sentence())
        }
        Progress::Programmed => Finding::yes(kind, Reason::Programmed, message),
        Progress::Converging => Finding::no(kind, Reason::Converging, message),
        Progress::Stale => Finding::unknown(kind, Reason::Stale, message),
    }
}

/// How far a gateway is with an exit, whatever else its document says.
pub(super) fn gateway_progress(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    gateway: &NodeName,
    exit: &ExitName,
) -> Progress {
    let of_node = settled.get(gateway);
    let served = of_node.and_then(|of_node| {
        Some((
            of_node,
            of_node.document.nat.iter().find(|one| &one.exit == exit)?,
        ))
    });
    match served {
        Some((of_node, served)) => Progress::of_served(context, of_node, gateway, served),
        None => Progress::of(context, settled, gateway),
    }
}

fn ready(
    context: &LoweringContext<'_>,
    exit: &SnapshotExit,
    gateway: Option<GatewayProgress<'_>>,
    state: Option<&ExitState<'_>>,
) -> Finding {
    let kind = ConditionType::Ready;
    let (active, gateway) = match (state, gateway) {
        (Some(ExitState::Active(active)), Some(gateway)) => (active, gateway),
        (Some(ExitState::NoGateway), _) => {
            let reason = Reason::NoEligibleNode;
            return Finding::no(kind, reason, reason.sentence());
        }
        (Some(ExitState::Off), _) => {
            let reason = Reason::SwitchedOff;
            return Finding::no(kind, reason, reason.sentence());
        }
        (Some(ExitState::NoSession(lack)), _) => return no_session(kind, lack),
        _ => return Finding::no(kind, Reason::NoExit, "there is no active gateway"),
    };
    if context.keys.get(active.gateway).is_none() {
        return Finding::no(
            kind,
            Reason::NoPeerKey,
            format!("{} has not reported its key", active.gateway),
        );
    }
    if let Some(wait) = &active.offer.wait {
        return Finding::no(kind, Reason::HolderHeld, waits(active.gateway, wait));
    }
    let lack = gateway.lack().unwrap_or_default();
    match gateway.progress {
        Progress::Programmed => {
            let clients = context.clients.get(&exit.name).into_iter().flatten();
            let faults = PathFaults::of(context, &exit.name, active, clients);
            if let Some((reason, message)) = faults.reason(active, ClientQuorum::Unanimous) {
                return Finding::no(kind, reason, message);
            }
            let (reason, from) = sources(active);
            let parts = [
                Some(format!("leaves by {} {from}", gateway.name)),
                faults.of_some_clients(),
            ];
            let message: Vec<String> = parts.into_iter().flatten().collect();
            let message = message.join("; ");
            match faults.absent() {
                Some(absent) => {
                    Finding::yes(kind, Reason::FamilyBlocked, format!("{message}; {absent}"))
                }
                None => Finding::yes(kind, reason, message),
            }
        }
        Progress::Converging => Finding::no(kind, Reason::Converging, lack),
        Progress::Stale => Finding::unknown(kind, Reason::Stale, lack),
    }
}

/// Why a gateway waits for its egress IPs.
fn waits(gateway: &NodeName, wait: &EgressWait<'_>) -> String {
    match wait {
        EgressWait::Former(holder) => {
            let (node, until) = (&holder.node, holder.until);
            format!(
                "{node} may still have the egress IPs: it has not reported that it gave them up; {gateway} gets them then, or at {until}"
            )
        }
        EgressWait::OtherExit(node) => format!(
            "another exit names one of these egress IPs too, and {node} has it; take it out of one of the two"
        ),
    }
}

/// From which addresses traffic leaves, and whether a family is blocked for want of one.
pub(super) fn sources(active: &ActiveExit<'_>) -> (Reason, String) {
    let egress = active.offer.egress;
    let addresses: Vec<String> = egress.iter().map(ToString::to_string).collect();
    let from = format!("from {}", addresses.join(" and "));
    let has = |v4| egress.iter().any(|address| address.is_ipv4() == v4);
    let blocked = match (has(true), has(false)) {
        (true, true) => return (Reason::Ready, from),
        (false, false) => {
            return (
                Reason::Ready,
                format!("from {}'s own address", active.gateway),
            );
        }
        (true, false) => "IPv6",
        (false, true) => "IPv4",
    };
    let lack = match active.offer.session {
        Some(_) => "the server gave no address of it",
        None => "no egress IP of it is given",
    };
    let message = format!("{from}; {blocked} is blocked: {lack}");
    (Reason::FamilyBlocked, message)
}

fn gateways(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    exit: &SnapshotExit,
    active: &ActiveExit<'_>,
) -> Vec<GatewayLine> {
    let line = |node: &NodeName| gateway_line(context, settled, exit, active, node);
    let first = GatewayLine {
        role: GatewayRole::Active,
        ..line(active.gateway)
    };
    let standbys = active.standbys.iter().map(|node| line(node));
    std::iter::once(first).chain(standbys).collect()
}

/// A gateway as a standby. One that serves no client yet is healthy when its guard is in place.
fn gateway_line(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    exit: &SnapshotExit,
    active: &ActiveExit<'_>,
    node: &NodeName,
) -> GatewayLine {
    let serves = active.rank(node).is_some();
    let endpoint = context.index.nodes.get(node).filter(|_| serves);
    let endpoint = endpoint.and_then(|of_node| {
        let address = context.index.addresses(of_node).next()?;
        Some(SocketAddr::new(address, context.numbers.get(&exit.name)?.port).to_string())
    });
    let endpoint = match &active.offer.session {
        Some(session) if serves => Some(server(context, exit, node, session)),
        Some(_) | None => endpoint,
    };
    let carries = gateway_progress(context, settled, node, &exit.name) == Progress::Programmed;
    let faults = PathFaults::of_gateway(context, &exit.name, active, node);
    let report = fresh(context, node);
    let reported = report.and_then(|report| report.served.get(&exit.name));
    // The wanted addresses are in force once the node has read that document back.
    let of_node = settled.get(node).filter(|_| carries);
    let served = of_node.and_then(|settled| {
        let mut served = settled.document.nat.iter();
        served.find(|one| one.exit == exit.name)
    });
    GatewayLine {
        node: node.to_string(),
        role: GatewayRole::Standby,
        endpoint,
        egress: served
            .filter(|served| served.egress_term != EgressTerm::Awaited)
            .map(|served| served.egress.clone())
            .unwrap_or_default(),
        mtu: reported.and_then(|served| served.mtu),
        healthy: match serves {
            true => carries && faults.reason(active, ClientQuorum::Unanimous).is_none(),
            false => is_sealed(context, node),
        },
    }
}

/// Where the node with the session reaches the server, as it reports; before it does, as the exit names it.
fn server(
    context: &LoweringContext<'_>,
    exit: &SnapshotExit,
    node: &NodeName,
    session: &SessionOffer<'_>,
) -> String {
    let report = fresh(context, node);
    let served = report.and_then(|report| report.served.get(&exit.name));
    let said = served.and_then(|served| served.server);
    said.map_or_else(|| session.endpoint.to_string(), |said| said.to_string())
}

/// Its client nodes, and those of them whose guard is in place.
fn clients<'a>(
    context: &LoweringContext<'a>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    exit: &SnapshotExit,
) -> (ConcernedNodes<'a>, u32) {
    let nodes = context.clients.get(&exit.name).into_iter().flatten();
    let mut clients = ConcernedNodes::default();
    let mut sealed = 0;
    for node in nodes.filter(|node| settled.contains_key(node)) {
        let of_node = settled.get(node);
        let used = of_node.and_then(|of_node| {
            let mut routes = of_node.document.routes.iter();
            Some((of_node, routes.find(|one| one.exit == exit.name)?))
        });
        let progress = match used {
            Some((of_node, used)) => Progress::of_used(context, of_node, node, used),
            None => Progress::of(context, settled, node),
        };
        clients.add(node, progress);
        sealed += u32::from(is_sealed(context, node));
    }
    (clients, sealed)
}

fn is_sealed(context: &LoweringContext<'_>, node: &NodeName) -> bool {
    let report = context.index.reports.get(node);
    report.is_some_and(|one| one.freshness == Freshness::Fresh && one.guard == Guard::Sealed)
}
