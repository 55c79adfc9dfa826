//! What was read back of one scope: its lease, its exit, its way out.

use postern_intent::body::{EgressPath, Scope};
use postern_intent::{Body, IfName, NodeName};
use postern_plan::Observed;
use postern_plan::check::Seal;
use postern_plan::desired::{LEASE, used_interface};
use postern_plan::host::Carrier;
use postern_plan::order::{Stage, StepPlan};

use crate::exit_loss::{ExitLoss, ExitReading};
use crate::probe::{ProbeAnswer, ProbeResults};
use crate::tunnel_health::{TunnelHealths, handshake_with};

/// Does the kernel's lease stand? Without it a scope's chain refuses everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseReading {
    /// Its elements were read back or have just been written.
    Stands,
    /// It is not there.
    Missing,
    /// The body's validity has run out, and the lease is gone.
    Expired,
    /// The body's validity has run out, and the lease could not be ended: packets still leave.
    Overdue,
}

/// Does a difference that was read back, or a part that was not read, concern the scope's way out?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayReading {
    /// The way out stands whole.
    Whole,
    /// It does not, or it is not known.
    Differs,
}

/// What was read back of one scope.
#[derive(Debug, Clone, Copy)]
pub struct ScopeReading {
    /// Whether the guard was read back whole.
    pub seal: Seal,
    pub lease: LeaseReading,
    pub exit: ExitReading,
    /// Since when it is lost.
    pub loss: ExitLoss,
    /// Device, routes and rules.
    pub way: WayReading,
}

/// The device that a scope leaves by, where it leaves by a tunnel of this node.
#[must_use]
pub fn scope_device<'a>(body: &'a Body, scope: &Scope) -> Option<&'a IfName> {
    used_interface(body, scope.tunnel_exit()?)
}

/// The gateway that the scope's packets go to, where it leaves by a tunnel of this node.
fn gateway_in_use<'a>(body: &'a Body, scope: &Scope) -> Option<&'a NodeName> {
    let exit = scope.tunnel_exit()?;
    let route = body.routes.iter().find(|route| &route.exit == exit)?;
    route.gateways.first().map(|gateway| &gateway.node)
}

/// Can this node make tunnels?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelMeans {
    /// By the kernel or by a process.
    Present,
    Absent,
}

/// By what an exit is known to answer.
#[derive(Debug, Clone, Copy)]
pub struct ExitSigns<'a> {
    /// Handshakes: all that there is where no probe can be sent.
    pub handshakes: &'a TunnelHealths,
    /// Probes through the tunnel.
    pub probes: &'a ProbeResults,
}

/// What a reading shows of a scope's exit. A tunnel that is served carries, whatever else this node could not make.
#[must_use]
pub fn exit_reading(
    body: &Body,
    scope: &Scope,
    observed: &Observed,
    signs: ExitSigns<'_>,
    means: TunnelMeans,
) -> ExitReading {
    if scope.way != EgressPath::Tunnel {
        return ExitReading::Carries;
    }
    let served = scope_device(body, scope).is_some_and(|device| {
        let tunnel = observed.tunnels.get(device);
        let in_use = scope.exit.as_ref().zip(gateway_in_use(body, scope));
        let handshake = tunnel
            .zip(in_use)
            .and_then(|(tunnel, (_, gateway))| handshake_with(body, tunnel, gateway));
        let probed = in_use.map_or(ProbeAnswer::Untested, |(exit, gateway)| {
            signs.probes.gateway(exit, gateway)
        });
        // A gateway that has a session and never answered an echo may be one that answers none.
        let is_silent = match probed {
            ProbeAnswer::Silent => true,
            ProbeAnswer::Unanswered => handshake.is_none(),
            ProbeAnswer::Untested | ProbeAnswer::Answers => false,
        };
        !signs.handshakes.is_unanswered(device)
            && !is_silent
            && tunnel.is_some()
            && observed
                .links
                .iter()
                .any(|link| link.name == device.as_str() && link.carrier == Carrier::Present)
    });
    match (served, means) {
        (true, _) => ExitReading::Carries,
        (false, TunnelMeans::Present) => ExitReading::Lost,
        (false, TunnelMeans::Absent) => ExitReading::NoTunnel,
    }
}

/// Does any difference concern the scope? One that is about no device concerns every scope, but for the ARP table, which
/// judges no packet of a pod.
#[must_use]
pub fn way_reading(differences: &StepPlan, device: Option<&IfName>) -> WayReading {
    let mut differences = differences.differences();
    let concerns = differences.any(|(stage, step)| {
        let about = step.device();
        stage != Stage::Arp && (about.is_none() || (device.is_some() && about == device))
    });
    if concerns {
        WayReading::Differs
    } else {
        WayReading::Whole
    }
}

/// Do both elements of the kernel's lease, one a family, stand in a reading?
#[must_use]
pub fn lease_stands(observed: &Observed) -> bool {
    let table = observed.firewall.inet.as_ref();
    table
        .and_then(|table| table.sets.get(LEASE))
        .is_some_and(|set| set.elements.len() == 2)
}
