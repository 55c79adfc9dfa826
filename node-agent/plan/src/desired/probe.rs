//! What is asked to know whether an exit carries. The probes use the sockets by which names are asked too: with the
//! exit's mark, on its device, from its address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_intent::body::{Scope, TermsDnsMode};
use postern_intent::{Address, ExitName, SectionDigest};

use super::PlanInputs;
use super::dns::{DnsExit, exit_of, served_exit};
use crate::host::Family;

/// Everything that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProbePlan {
    /// Exits that the node uses by a tunnel.
    pub used: BTreeMap<ExitName, UsedProbe>,
    /// Exits that the node serves, with the sockets that leave as their clients' packets do.
    pub served: BTreeMap<ExitName, DnsExit>,
}

/// What is asked by one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedProbe {
    /// The exit's digest in the body: with another one, answers of before are about something else.
    pub digest: SectionDigest,
    pub socket: DnsExit,
    /// Where the active gateway answers in the tunnel.
    pub gateways: BTreeMap<Family, Address>,
    /// Resolvers that policies name.
    pub resolvers: BTreeSet<SocketAddr>,
    /// Whether a policy leaves the choice of its resolvers to the node.
    pub choice: ResolverChoice,
}

/// Who names the resolvers of an exit's policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResolverChoice {
    /// Each policy, or none asks for names.
    #[default]
    Named,
    /// At least one leaves it to the node.
    Node,
}

pub(super) fn plan(inputs: &PlanInputs<'_>) -> ProbePlan {
    let Some(body) = inputs.body else {
        return ProbePlan::default();
    };
    let mut plan = ProbePlan::default();
    for scope in &body.firewall {
        let Some(exit) = scope.tunnel_exit() else {
            continue;
        };
        if let Some(found) = plan.used.get_mut(exit) {
            found.add(scope);
        } else if let Some(mut found) = used(inputs, scope, exit) {
            found.add(scope);
            plan.used.insert(exit.clone(), found);
        }
    }
    for served in &body.nat {
        if let Some(socket) = served_exit(inputs, served) {
            plan.served.insert(served.exit.clone(), socket);
        }
    }
    plan
}

fn used(inputs: &PlanInputs<'_>, scope: &Scope, exit: &ExitName) -> Option<UsedProbe> {
    let body = inputs.body?;
    let socket = exit_of(inputs, body, scope)?;
    let route = body.routes.iter().find(|route| &route.exit == exit)?;
    let active = route.gateways.first()?;
    let gateways = active.addresses.iter();
    let gateways = gateways.map(|address| (Family::of(address), *address));
    Some(UsedProbe {
        gateways: gateways
            .filter(|(family, _)| socket.sources.contains_key(family))
            .filter(|(family, _)| inputs.facts.has_family(*family))
            .collect(),
        digest: route.digest.clone(),
        socket,
        resolvers: BTreeSet::new(),
        choice: ResolverChoice::Named,
    })
}

impl UsedProbe {
    fn add(&mut self, scope: &Scope) {
        let dns = &scope.terms.dns;
        match dns.mode {
            TermsDnsMode::Block => {}
            TermsDnsMode::Forward | TermsDnsMode::Filter if dns.upstreams.is_empty() => {
                self.choice = ResolverChoice::Node;
            }
            TermsDnsMode::Forward | TermsDnsMode::Filter => self.resolvers.extend(&dns.upstreams),
        }
    }
}
