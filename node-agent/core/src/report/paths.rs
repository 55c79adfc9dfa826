//! How far packets get on each exit's way, hop by hop, from what probes found and what was read of the node.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use postern_crds::node_report::{
    AddressFamily, PathHop, PathReport, PathState, RESOLVERS_LISTED, ResolverState,
};
use postern_intent::body::{ExitRoute, ExternalSession, Scope, ServedExit, TermsDnsMode};
use postern_intent::{Address, Body};
use postern_plan::desired::tunnel_address;
use postern_plan::host::{Carrier, Family};

use super::ReportInputs;
use crate::egress::EgressState;
use crate::probe::{GatewayReach, ProbeAnswer};
use crate::session_health::ServerAnswer;

impl ReportInputs<'_> {
    /// The ways of an exit that this node uses.
    pub(super) fn used_paths(
        &self,
        body: &Body,
        route: &ExitRoute,
        handshake: Option<Timestamp>,
    ) -> Vec<PathReport> {
        let has_address =
            |family: &Family| tunnel_address(body, &route.interface, *family).is_some();
        let is_there = |family: &Family| self.setup.facts.has_family(*family);
        let families = Family::BOTH
            .into_iter()
            .filter(has_address)
            .filter(is_there);
        families
            .map(|family| self.used_path(route, family, handshake))
            .collect()
    }

    fn used_path(
        &self,
        route: &ExitRoute,
        family: Family,
        handshake: Option<Timestamp>,
    ) -> PathReport {
        let probes = self.run.probes;
        // The node's own resolvers decide where any of them is asked: those that a policy names may be wrong for it alone.
        // Where each policy names its own, they are not asked, and what they name is all that shows a gateway that does not
        // forward.
        let is_own = |resolver: &SocketAddr| probes.own_resolvers.contains(resolver);
        let own_is_asked = probes.asks(&route.exit, is_own);
        let judges = |resolver: &SocketAddr| !own_is_asked || is_own(resolver);
        let behind = probes.any_resolver(&route.exit, |resolver| {
            is_of(resolver, family) && judges(resolver)
        });
        let gateway = route.gateways.first().map(|gateway| &gateway.node);
        let answer = gateway.map_or(ProbeAnswer::Untested, |gateway| {
            probes.tunnel(&route.exit, gateway, family)
        });
        match (answer, behind) {
            (ProbeAnswer::Untested, _) => path(family, PathState::Untested, String::new()),
            (ProbeAnswer::Unanswered, _) if handshake.is_some() => {
                let message = "the gateway has a session and answers no echo";
                path(family, PathState::Untested, message.to_owned())
            }
            (ProbeAnswer::Silent | ProbeAnswer::Unanswered, _) => {
                let name = gateway.map(ToString::to_string).unwrap_or_default();
                let message = format!("the gateway {name} does not answer in the tunnel");
                broken(family, PathHop::Tunnel, message)
            }
            // Targets show nothing about a family of which none of them is.
            (ProbeAnswer::Answers, _)
                if route
                    .probe
                    .targets
                    .iter()
                    .any(|target| is_of(target, family))
                    && gateway.map(|gateway| probes.reach(&route.exit, gateway))
                        == Some(GatewayReach::DeadEnd) =>
            {
                let message =
                    "the gateway answers in the tunnel, and no target of the exit's probe does";
                broken(family, PathHop::Forward, message.to_owned())
            }
            (ProbeAnswer::Answers, ProbeAnswer::Silent | ProbeAnswer::Unanswered) => broken(
                family,
                PathHop::Forward,
                "the gateway answers in the tunnel, and no resolver behind it does".to_owned(),
            ),
            (ProbeAnswer::Answers, ProbeAnswer::Answers) => {
                path(family, PathState::Works, String::new())
            }
            (ProbeAnswer::Answers, ProbeAnswer::Untested) => {
                let message = "the gateway answers; nothing behind it is known to ask";
                path(family, PathState::Works, message.to_owned())
            }
        }
    }

    /// The ways of an exit that this node serves, for the families that the exit is to offer.
    pub(super) fn served_paths(&self, exit: &ServedExit) -> Vec<PathReport> {
        let offers = |family: &Family| {
            let is_of_family = |address: &_| Family::of(address) == *family;
            let routes = exit.routes.iter();
            routes.map(Family::of_prefix).any(|one| one == *family)
                && (exit.egress.is_empty() || exit.egress.iter().any(is_of_family))
        };
        let families = Family::BOTH.into_iter().filter(offers);
        families
            .map(|family| self.served_path(exit, family))
            .collect()
    }

    fn served_path(&self, exit: &ServedExit, family: Family) -> PathReport {
        let facts = self.setup.facts;
        if let Some(session) = self.session(exit) {
            if let Some(message) = self.session_fault(exit, session) {
                return broken(family, PathHop::Tunnel, message);
            }
            let answer = self.run.sessions.answer(&session.interface);
            if answer == ServerAnswer::Untested {
                return path(family, PathState::Untested, String::new());
            }
        }
        let egress = exit
            .egress
            .iter()
            .filter(|_| self.session(exit).is_none())
            .find(|address| Family::of(address) == family);
        if let Some(address) = egress.filter(|address| !facts.has_address(address)) {
            let state = self.run.egress.state(&exit.exit, address);
            return broken(family, PathHop::Source, missing_source(address, state));
        }
        if let Some(message) = self.uplink_fault(exit, family) {
            return broken(family, PathHop::Uplink, message);
        }
        let behind = self
            .run
            .probes
            .any_resolver(&exit.exit, |resolver| is_of(resolver, family));
        match behind {
            ProbeAnswer::Untested => path(family, PathState::Untested, String::new()),
            ProbeAnswer::Answers => path(family, PathState::Works, String::new()),
            ProbeAnswer::Silent | ProbeAnswer::Unanswered => {
                let message = "no resolver answers the gateway itself".to_owned();
                broken(family, PathHop::Resolver, message)
            }
        }
    }

    fn session(&self, exit: &ServedExit) -> Option<&ExternalSession> {
        self.read_back?.body()?.external_session(&exit.exit)
    }

    /// Why nothing reaches the server of an external exit.
    fn session_fault(&self, exit: &ServedExit, session: &ExternalSession) -> Option<String> {
        if let Some(fault) = self.run.session_faults.get(&session.interface) {
            return Some(format!("the credential cannot be read: {fault}"));
        }
        let endpoint = &session.endpoint;
        let Some(server) = self.server(exit) else {
            return Some(format!("the server's name {endpoint} has no address yet"));
        };
        let answer = self.run.sessions.answer(&session.interface);
        (answer == ServerAnswer::Silent)
            .then(|| format!("the server {endpoint} does not answer at {server}"))
    }

    fn uplink_fault(&self, exit: &ServedExit, family: Family) -> Option<String> {
        let facts = self.setup.facts;
        if !facts.has_family(family) {
            return Some("the node has no addresses of the family".to_owned());
        }
        let Some(device) = facts.uplink(exit.uplink.as_ref()) else {
            return Some("the node has no interface to leave by".to_owned());
        };
        if exit.uplink.is_none() && facts.uplinks.get(&family) != Some(&device) {
            return Some(format!(
                "the node has no default route of its own by {device}"
            ));
        }
        let observed = self.read_back?.observed();
        let link = observed
            .links
            .iter()
            .find(|link| link.name == device.as_str());
        let Some(link) = link else {
            return Some(format!("the node has no interface {device}"));
        };
        let mut addresses = link.addresses.iter().map(|net| net.addr());
        let has_address =
            addresses.any(|address| Family::of(&address) == family && !is_link_local(&address));
        match link.carrier {
            Carrier::Absent => Some(format!("{device} has no carrier")),
            Carrier::Present if !has_address => {
                Some(format!("{device} has no address of the family"))
            }
            Carrier::Present => None,
        }
    }

    /// Whether the names of a scope's pods can be asked for.
    pub(super) fn resolver_state(&self, scope: &Scope) -> ResolverState {
        let exit = scope.tunnel_exit().or_else(|| scope.local_exit());
        let exit = exit.filter(|_| scope.terms.dns.mode != TermsDnsMode::Block);
        let Some(exit) = exit else {
            return ResolverState::Untested;
        };
        let probes = self.run.probes;
        let asked = match &scope.terms.dns.upstreams[..] {
            [] => &probes.own_resolvers[..],
            named => named,
        };
        if asked.is_empty() {
            return ResolverState::Unknown;
        }
        if self
            .run
            .open_resolvers
            .get(&scope.id)
            .is_some_and(|open| asked.iter().all(|resolver| open.contains(resolver)))
        {
            return ResolverState::Silent;
        }
        match probes.any_resolver(exit, |resolver| asked.contains(resolver)) {
            ProbeAnswer::Untested => ResolverState::Untested,
            ProbeAnswer::Answers => ResolverState::Answers,
            ProbeAnswer::Silent | ProbeAnswer::Unanswered => ResolverState::Silent,
        }
    }

    /// Resolvers of a scope that are left alone because they did not answer.
    pub(super) fn silent_resolvers(&self, scope: &Scope) -> Vec<String> {
        let open = self.run.open_resolvers.get(&scope.id);
        let open = open.into_iter().flatten();
        open.take(RESOLVERS_LISTED)
            .map(|resolver| resolver.ip().to_string())
            .collect()
    }
}

const fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_of(resolver: &SocketAddr, family: Family) -> bool {
    Family::of(&resolver.ip()) == family
}

const fn named(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::IPv4,
        Family::V6 => AddressFamily::IPv6,
    }
}

/// Why an egress IP is not on the node.
fn missing_source(address: &Address, state: Option<&EgressState>) -> String {
    match state {
        Some(EgressState::Taken(mac)) => {
            format!("another host answers for the egress IP {address}: {mac}; give it up there")
        }
        Some(EgressState::Awaited) => {
            format!("the egress IP {address} may still be on a former gateway")
        }
        Some(EgressState::Unconfirmed) => format!(
            "the egress IP {address} is given up: the document has run out, or the API server did not confirm in time that it is the newest"
        ),
        Some(EgressState::Failed(why)) => {
            format!("the egress IP {address} cannot be put on the node: {why}")
        }
        Some(EgressState::Coming | EgressState::Held | EgressState::OfNode) | None => {
            format!("the egress IP {address} is on no interface of the node")
        }
    }
}

const fn path(family: Family, state: PathState, message: String) -> PathReport {
    PathReport {
        family: named(family),
        state,
        hop: None,
        message,
    }
}

fn broken(family: Family, hop: PathHop, message: String) -> PathReport {
    PathReport {
        hop: Some(hop),
        ..path(family, PathState::Broken, message)
    }
}
