//! What a reader of a parsed document may rely on beyond its types.

use std::collections::BTreeSet;

use super::cluster::ClusterDocument;
use super::document::NodeDocument;
use super::exit::{Access, ExitGateway, ExitRoute, ServedExit};
use super::pod::Class;
use super::scope::EgressPath;
use super::terms::TermsDnsMode;
use super::tunnel::{Tunnel, TunnelRole};
use crate::newtypes::{Address, ExitName, IfName, Mark, NodeName, ScopeId, Uid};

impl NodeDocument {
    /// What a reader of a parsed document may rely on beyond its types.
    ///
    /// # Errors
    /// The first broken rule, as [`Inconsistency`].
    pub fn check(&self) -> Result<(), Inconsistency> {
        let scopes: BTreeSet<&ScopeId> = self.firewall.iter().map(|scope| &scope.id).collect();
        if scopes.len() != self.firewall.len() {
            return Err(Inconsistency::DuplicateScope);
        }
        let limited = self
            .firewall
            .iter()
            .find(|scope| !scope.terms.limits.are_possible());
        if let Some(scope) = limited {
            return Err(Inconsistency::Limits(scope.id.clone()));
        }
        self.check_names()?;
        self.check_pods(&scopes)?;
        self.check_routes()?;
        self.check_ways()
    }

    /// Names are an allowance that the forwarder fills, so a rule that denies, or a scope without the filter, would mean
    /// something else by them than it says. Grants are kept by the name of the rule.
    fn check_names(&self) -> Result<(), Inconsistency> {
        for scope in &self.firewall {
            let mut with_names = BTreeSet::new();
            for rule in scope
                .terms
                .rules
                .iter()
                .filter(|rule| !rule.names.is_empty())
            {
                let is_filtered = scope.terms.dns.mode == TermsDnsMode::Filter;
                if rule.action != Access::Allow || !is_filtered || !with_names.insert(&rule.name) {
                    return Err(Inconsistency::Names(scope.id.clone()));
                }
            }
        }
        Ok(())
    }

    fn check_pods(&self, scopes: &BTreeSet<&ScopeId>) -> Result<(), Inconsistency> {
        let mut uids = BTreeSet::new();
        let mut owners = BTreeSet::new();
        for pod in &self.pods {
            if let Class::Policy { scope } = &pod.class
                && !scopes.contains(scope)
            {
                return Err(Inconsistency::UnknownScope(scope.clone()));
            }
            // Which of two classes a binding of the UID would get would be a matter of chance.
            if !uids.insert(&pod.uid) {
                return Err(Inconsistency::DuplicatePod(pod.uid.clone()));
            }
            if let Some(address) = pod.addresses.iter().find(|one| !owners.insert(*one)) {
                return Err(Inconsistency::SharedAddress(*address));
            }
        }
        Ok(())
    }

    fn check_routes(&self) -> Result<(), Inconsistency> {
        let mut exits = BTreeSet::new();
        let mut marks = BTreeSet::new();
        let mut tables = BTreeSet::new();
        for route in &self.routes {
            if !exits.insert(&route.exit) {
                return Err(Inconsistency::DuplicateRoute(route.exit.clone()));
            }
            if !Mark::EXITS.contains(&route.mark)
                || !marks.insert(route.mark)
                || !tables.insert(route.table)
            {
                return Err(Inconsistency::Route(route.exit.clone()));
            }
        }
        for session in &self.external {
            let serves = |served: &ServedExit| {
                (&served.exit, served.uplink.as_ref()) == (&session.exit, Some(&session.interface))
            };
            let is_its = |tunnel: &&Tunnel| {
                (tunnel.role, &tunnel.exit, &tunnel.interface)
                    == (TunnelRole::External, &session.exit, &session.interface)
            };
            let tunnel = self.tunnels.iter().find(is_its);
            // A second peer could take the ranges of the first one.
            let one_peer = tunnel.is_some_and(|tunnel| tunnel.peers.len() == 1);
            let is_new = exits.insert(&session.exit)
                && Mark::EXITS.contains(&session.mark)
                && marks.insert(session.mark)
                && tables.insert(session.table);
            if !is_new || !one_peer || !self.nat.iter().any(serves) {
                return Err(Inconsistency::Session(session.exit.clone()));
            }
        }
        Ok(())
    }

    fn check_ways(&self) -> Result<(), Inconsistency> {
        for scope in &self.firewall {
            let known = match (&scope.way, &scope.exit) {
                (EgressPath::Tunnel, Some(exit)) => {
                    self.routes.iter().any(|route| &route.exit == exit)
                }
                (EgressPath::LocalExit, Some(exit)) => {
                    self.nat.iter().any(|served| &served.exit == exit)
                }
                (EgressPath::Tunnel | EgressPath::LocalExit, None) => false,
                (EgressPath::NodeUplink | EgressPath::Blocked { .. }, _) => true,
            };
            if !known {
                return Err(Inconsistency::WayWithoutExit(scope.id.clone()));
            }
        }
        let fits = |tunnel: &Tunnel, route: &ExitRoute| {
            (tunnel.role, &tunnel.exit, &tunnel.interface)
                == (TunnelRole::Used, &route.exit, &route.interface)
        };
        let used = |route: &ExitRoute| self.tunnels.iter().any(|tunnel| fits(tunnel, route));
        if let Some(route) = self.routes.iter().find(|route| !used(route)) {
            return Err(Inconsistency::Route(route.exit.clone()));
        }
        let strange = self.routes.iter().find(|route| {
            let is_there = |gateway: &ExitGateway| match gateway.node == self.node.name {
                true => self.nat.iter().any(|served| served.exit == route.exit),
                false => self.has_peer(&route.interface, &gateway.node),
            };
            !route.gateways.iter().all(is_there)
        });
        if let Some(route) = strange {
            return Err(Inconsistency::Gateway(route.exit.clone()));
        }
        if self.not_after <= self.issued_at {
            return Err(Inconsistency::Validity);
        }
        Ok(())
    }

    fn has_peer(&self, interface: &IfName, node: &NodeName) -> bool {
        let mut tunnels = self.tunnels.iter();
        let tunnel = tunnels.find(|tunnel| &tunnel.interface == interface);
        tunnel.is_some_and(|tunnel| tunnel.peers.iter().any(|peer| peer.at.node() == Some(node)))
    }
}

impl ClusterDocument {
    /// As [`NodeDocument::check`].
    ///
    /// # Errors
    /// The first broken rule, as [`Inconsistency`].
    pub fn check(&self) -> Result<(), Inconsistency> {
        if self.not_after <= self.issued_at {
            return Err(Inconsistency::Validity);
        }
        if self.follows.max(self.changed) > self.serial {
            return Err(Inconsistency::Lineage);
        }
        Ok(())
    }
}

/// A document that parses but contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// Two scopes have one id.
    #[error("two scopes have the same id")]
    DuplicateScope,
    /// A pod's class names a scope that the firewall section does not have.
    #[error("a pod names the scope {0}, which the body does not have")]
    UnknownScope(ScopeId),
    /// Two pods have one UID.
    #[error("two pods have the UID {0}")]
    DuplicatePod(Uid),
    /// A limit of zero, or one that no kernel can hold.
    #[error("scope {0} has a limit of zero, or one that no kernel can hold")]
    Limits(ScopeId),
    /// A rule with names denies, belongs to a scope that does not filter names, or has the name of another rule.
    #[error(
        "scope {0} has a rule with names that denies, that no filter serves, or that has the name of another one"
    )]
    Names(ScopeId),
    /// An exit has two routes.
    #[error("exit {0} has two routes")]
    DuplicateRoute(ExitName),
    /// Marks or tables are used twice, the mark is no exit's, or the tunnel is missing.
    #[error(
        "the route of exit {0} has no tunnel, a mark that is no exit's, or a mark or table of another one"
    )]
    Route(ExitName),
    /// An exit's session with a server has no tunnel with one peer, a mark or table of another exit, or the node does not
    /// serve the exit by it.
    #[error(
        "the session of exit {0} has no tunnel with one peer, a mark or table of another exit, or serves nobody"
    )]
    Session(ExitName),
    /// A gateway of an exit is no peer of the exit's tunnel, or is this node, which does not serve it.
    #[error(
        "a gateway of exit {0} is no peer of its tunnel, or this node, which does not serve it"
    )]
    Gateway(ExitName),
    /// Two pods have one address.
    #[error("two pods have the address {0}")]
    SharedAddress(Address),
    /// A scope's way names an exit that the body does not carry.
    #[error("the way out of scope {0} names an exit that the body does not carry")]
    WayWithoutExit(ScopeId),
    /// It goes on from a serial, or changed with one, that is above its own.
    #[error("follows or changed is above serial")]
    Lineage,
    /// It ends before it starts.
    #[error("notAfter is not behind issuedAt")]
    Validity,
}
