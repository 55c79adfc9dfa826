//! What becomes of one packet of a pod, by what is in force: the body whose guard was read back, and what the kernel holds of granted
//! addresses now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use postern_agent_core::ReadBack;
use postern_agent_core::scope_reading::LeaseReading;
use postern_control::ExplainRequest;
use postern_control::explained::{
    DestinationOrigin, ExplainedPacket, GrantedAddress, NodeExplanation, PacketQuestion,
    PacketQuestionError, PacketTarget, PendingIntent,
};
use postern_host::{Host, HostError};
use postern_intent::{Address, Body, ExitName, NamePattern};
use postern_plan::check::Seal;
use postern_plan::desired::{AddressClass, DnsEntry, Lease, NamedRule};
use postern_plan::evaluate::Grants;
use postern_plan::explain::{BoundPod, NodeInForce, NodeModel};
use postern_plan::host::Family;
use thiserror::Error;

use super::state::Agent;

/// Why there is no answer about a packet.
#[derive(Debug, Error)]
pub enum ExplainError {
    #[error("the node is released: its guard judges no packet")]
    Released,
    #[error("the kernel was not read back yet: try again in a moment")]
    NotRead,
    #[error(
        "the guard was not read back whole, so that what flows is not known: the conditions of this node say why"
    )]
    NotWhole,
    #[error("no intent is in force on this node yet")]
    NoIntent,
    #[error("this node has no pod {pod} with an address: ask on the node of the pod")]
    UnknownPod { pod: String },
    #[error("ask about an address or about a name, and not about both")]
    TwoDestinations,
    #[error("the packet cannot be asked about")]
    Question(#[source] PacketQuestionError),
    #[error("the addresses that are granted cannot be read")]
    Read(#[source] HostError),
}

/// A pod of this node, and the device behind which it is.
struct PodHere {
    pod: BoundPod,
    link: String,
}

/// Addresses that the kernel holds in sets of granted ones.
#[derive(Default)]
struct KernelGrants {
    sets: Grants,
    shown: Vec<GrantedAddress>,
}

/// Which granted addresses are looked for.
enum WantedGrants<'a> {
    Address(Address),
    /// Those that an answer for the name brought.
    Name(&'a NamePattern),
}

impl<H: Host> Agent<H> {
    /// What becomes of a packet.
    ///
    /// # Errors
    /// [`ExplainError`].
    pub async fn explain(&self, asked: &ExplainRequest) -> Result<NodeExplanation, ExplainError> {
        if self.is_released() {
            return Err(ExplainError::Released);
        }
        let read_back = self.kernel.last.read_back.clone();
        let read_back = read_back.ok_or(ExplainError::NotRead)?;
        if read_back.seal() == Seal::NotSealed {
            return Err(ExplainError::NotWhole);
        }
        let body = read_back.body().ok_or(ExplainError::NoIntent)?;
        let target = &asked.target;
        if target.address.is_some() && target.name.is_some() {
            return Err(ExplainError::TwoDestinations);
        }
        let here = self.pod_here(body, asked)?;
        let (question, grants) = self.question(&read_back, &here, target).await?;
        let source = question.packet.source;
        let entry = read_back.desired().dns.entries.get(&source);
        let node = NodeInForce {
            body,
            desired: read_back.desired(),
            facts: &self.kernel.facts,
            lease: match self.lease_reading() {
                LeaseReading::Stands | LeaseReading::Overdue => Lease::Runs,
                LeaseReading::Missing | LeaseReading::Expired => Lease::RanOut,
            },
            own_resolvers: entry.map_or(&[], |entry| self.dns.own.of(entry)),
        };
        let model = NodeModel::in_force(node, &here.link, grants.sets);
        let packet = ExplainedPacket::in_force(&question, model, body);
        let inputs = self.report_inputs();
        let exit = packet.exit.as_ref().map(ExitName::as_str);
        let mut exits = inputs.exit_reports().into_iter();
        let scope = match read_back.desired().classes.get(&source) {
            Some(classified) => match &classified.class {
                AddressClass::Scope(id) => Some(id),
                AddressClass::Blocked(_) | AddressClass::Released => None,
            },
            None => None,
        };
        Ok(NodeExplanation {
            name: target.name.clone(),
            granted: granted(&read_back, &question, target, &grants.shown),
            grants: grants.shown,
            policy: scope.and_then(|id| inputs.scope_with_counts(id)),
            path: exits.find(|path| Some(path.exit.as_str()) == exit),
            verified_at: self.kernel.last.verified_at,
            pending: self.pending(&read_back),
            packet,
        })
    }

    /// By its binding; a pod that ran before the plugin was there by the intent.
    fn pod_here(&self, body: &Body, asked: &ExplainRequest) -> Result<PodHere, ExplainError> {
        let (namespace, name) = (&asked.namespace, &asked.pod);
        let mut bound = self.memory.bindings.get().by_container.values();
        if let Some(found) = bound.find(|one| (&one.namespace, &one.name) == (namespace, name)) {
            return Ok(PodHere {
                pod: BoundPod {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    uid: found.uid.clone(),
                    addresses: found.addresses.clone(),
                },
                link: found.pod_link.to_string(),
            });
        }
        let mut listed = body.pods.iter();
        let found = listed.find(|pod| (&pod.namespace, &pod.name) == (namespace, name));
        let found = found.filter(|pod| !pod.addresses.is_empty());
        let found = found.ok_or_else(|| ExplainError::UnknownPod {
            pod: format!("{namespace}/{name}"),
        })?;
        let mut links = self.options.settings.pod_links.iter();
        Ok(PodHere {
            pod: BoundPod {
                namespace: namespace.clone(),
                name: name.clone(),
                uid: found.uid.clone(),
                addresses: found.addresses.clone(),
            },
            link: links.next().cloned().unwrap_or_default(),
        })
    }

    /// The packet, with what the kernel has granted about it. Of a name that granted addresses, the first one is the destination.
    async fn question(
        &self,
        read_back: &ReadBack,
        here: &PodHere,
        target: &PacketTarget,
    ) -> Result<(PacketQuestion, KernelGrants), ExplainError> {
        let node = self.options.node.name.clone();
        let question = |target: &PacketTarget| {
            let pod = here.pod.clone();
            PacketQuestion::new(pod, node.clone(), target).map_err(ExplainError::Question)
        };
        let asked = question(target)?;
        let dns = &read_back.desired().dns;
        let Some(entry) = dns.entries.get(&asked.packet.source) else {
            return Ok((asked, KernelGrants::default()));
        };
        let wanted = match (&target.name, target.address) {
            (_, Some(address)) => WantedGrants::Address(address),
            (Some(name), None) => WantedGrants::Name(name),
            (None, None) => return Ok((asked, KernelGrants::default())),
        };
        let grants = self.kernel_grants(entry, &wanted).await?;
        let families: BTreeSet<Family> = here.pod.addresses.iter().map(Family::of).collect();
        let mut reached = grants.shown.iter().map(|grant| grant.address);
        let reached = reached.find(|address| families.contains(&Family::of(address)));
        let (None, Some(address)) = (target.address, reached) else {
            return Ok((asked, grants));
        };
        let target = PacketTarget {
            address: Some(address),
            name: None,
            ..target.clone()
        };
        // Each set with the address lets the packet through, whichever name brought it there.
        let all = WantedGrants::Address(address);
        let sets = self.kernel_grants(entry, &all).await?.sets;
        Ok((question(&target)?, KernelGrants { sets, ..grants }))
    }

    /// What the kernel holds now. No listing is made: it takes seconds where many addresses are granted, and this is a turn of the
    /// agent's one loop.
    async fn kernel_grants(
        &self,
        entry: &DnsEntry,
        wanted: &WantedGrants<'_>,
    ) -> Result<KernelGrants, ExplainError> {
        let mut found = KernelGrants::default();
        for rule in entry.names.rules() {
            for (family, set) in &rule.sets {
                let addresses = match wanted {
                    WantedGrants::Address(wanted) if Family::of(wanted) == *family => vec![*wanted],
                    WantedGrants::Address(_) => Vec::new(),
                    WantedGrants::Name(name) => self.dns.names.addresses(set, name.as_str()),
                };
                for address in addresses {
                    if self.holds(set, address).await? {
                        let held = found.sets.entry(set.clone()).or_default();
                        held.insert(address);
                        found.shown.push(self.shown(rule, set, address).await);
                    }
                }
            }
        }
        Ok(found)
    }

    async fn holds(&self, set: &str, address: Address) -> Result<bool, ExplainError> {
        let wanted = BTreeMap::from([(set.to_owned(), BTreeSet::from([address]))]);
        let there = self.host.has_addresses(&wanted).await;
        there.map_err(ExplainError::Read)
    }

    async fn shown(&self, rule: &NamedRule, set: &str, address: Address) -> GrantedAddress {
        let until = self.dns.grants.hold().await.until(set, address);
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        GrantedAddress {
            rule: rule.name.clone(),
            address,
            names: self.dns.names.of(set, address),
            until: left.map(|left| self.clock.now() + left),
        }
    }

    /// An intent that was accepted and not read back.
    fn pending(&self, read_back: &ReadBack) -> Option<PendingIntent> {
        let accepted = self.documents.verified.as_deref()?;
        let serials = |body: &Body| (body.serial, body.cluster_serial);
        let applied = read_back.applied().map(|applied| serials(applied.get()));
        let (serial, cluster_serial) = serials(accepted.get());
        (applied != Some((serial, cluster_serial))).then_some(PendingIntent {
            serial: serial.0,
            cluster_serial: cluster_serial.0,
        })
    }
}

/// The grants that concern the packet, in a sentence; none: its policy allows no names.
fn granted(
    read_back: &ReadBack,
    question: &PacketQuestion,
    target: &PacketTarget,
    found: &[GrantedAddress],
) -> Option<String> {
    let entry = read_back
        .desired()
        .dns
        .entries
        .get(&question.packet.source)?;
    if entry.names.rules().is_empty() {
        return None;
    }
    let destination = question.packet.destination;
    let is_stand_in = question.origin == DestinationOrigin::StandIn;
    Some(match (&target.name, found.is_empty()) {
        (Some(name), true) => {
            format!("this agent remembers no answer for {name} that grants the pod an address now")
        }
        (Some(name), false) if is_stand_in => {
            format!("answers for {name} grant no address of a family that the pod has")
        }
        (Some(name), false) => {
            format!("answers for {name} grant the pod addresses, of which {destination} is judged")
        }
        (None, _) if is_stand_in => return None,
        (None, true) => format!("no name grants the pod {destination}"),
        (None, false) => format!("a name grants the pod {destination}"),
    })
}
