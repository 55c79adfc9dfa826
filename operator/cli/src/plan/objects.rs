//! A body as the objects that its node would have, in lines that people read.
//!
//! The node's own settings, its bindings and its links are not known here. What hangs on them is written for a node with
//! default settings, the addresses that the body lists and kernel WireGuard; the interface of the default route is
//! called `default-route`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use postern_intent::body::{Class, Pod};
use postern_intent::{Body, ExitName, IfName};
use postern_plan::Desired;
use postern_plan::binding::Bindings;
use postern_plan::desired::{DnsEntry, HostFacts, PlanInputs};
use postern_plan::host::{
    KernelRoute, LockAction, LockPolicy, RouteKind, RoutingRule, RuleSelector, TunnelConfig,
    TunnelPeer,
};
use postern_plan::ruleset::{BaseKind, Chain, Hook, Ruleset, Set, TableFamily};
use postern_plan::settings::NodeSettings;
use serde::Serialize;

use crate::output::json_name;

/// What an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Section {
    /// What each pod may do.
    Pods,
    /// Tables, chains, sets and maps.
    Nft,
    /// Routes and routing rules.
    Route,
    /// Tunnel devices and their peers.
    WireGuard,
    Xfrm,
    /// Who may ask which resolver.
    Dns,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "Pods",
            Self::Nft => "Nft",
            Self::Route => "Route",
            Self::WireGuard => "WireGuard",
            Self::Xfrm => "Xfrm",
            Self::Dns => "Dns",
        })
    }
}

/// An object's lines, and whether their order says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lines {
    /// The first that fits decides.
    InOrder(Vec<String>),
    /// The order means nothing.
    Any(BTreeSet<String>),
}

/// Objects by section and name.
pub type PlanObjects = BTreeMap<(Section, String), Lines>;

/// The objects that a node with this body has.
#[must_use]
pub fn objects(body: &Body) -> PlanObjects {
    let desired = Desired::from_inputs(&PlanInputs {
        settings: &NodeSettings::default(),
        body: Some(body),
        bindings: &Bindings::default(),
        facts: &HostFacts::assumed(),
    });
    let mut all = nft(&desired.ruleset);
    all.extend(tunnels(&desired));
    let lists = [
        (Section::Pods, "pods", any(&body.pods, pod)),
        (Section::Route, "routes", any(&desired.routes, route)),
        (Section::Route, "rules", any(&desired.rules, rule)),
        (Section::Xfrm, "policies", any(&desired.locks, lock)),
        (
            Section::Dns,
            "forwarder",
            any(&desired.dns.entries, |(address, entry)| {
                format!("{address}: {}", answer(entry))
            }),
        ),
    ];
    let lists = lists
        .into_iter()
        .map(|(section, name, lines)| ((section, name.to_owned()), lines));
    all.extend(lists);
    all
}

fn any<T>(items: impl IntoIterator<Item = T>, line: impl Fn(T) -> String) -> Lines {
    Lines::Any(items.into_iter().map(line).collect())
}

fn nft(ruleset: &Ruleset) -> PlanObjects {
    let mut all = PlanObjects::new();
    for family in [TableFamily::Inet, TableFamily::Bridge, TableFamily::Arp] {
        let table = ruleset.table(family);
        let mut add = |noun: &str, name: &str, lines| {
            all.insert(
                (Section::Nft, format!("{} {noun} {name}", family.word())),
                lines,
            );
        };
        for (name, chain) in &table.chains {
            add("chain", name, Lines::InOrder(rules(chain)));
        }
        for (name, set) in &table.sets {
            let noun = if set.set_type.value.is_some() {
                "map"
            } else {
                "set"
            };
            add(noun, name, elements(set));
        }
    }
    all
}

const fn kind(kind: BaseKind) -> &'static str {
    match kind {
        BaseKind::Filter => "filter",
        BaseKind::Nat => "nat",
    }
}

const fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    }
}

fn rules(chain: &Chain) -> Vec<String> {
    let base = chain
        .base
        .map(|base| format!("{} {} {}", kind(base.kind), hook(base.hook), base.priority));
    base.into_iter()
        .chain(chain.rules.iter().map(ToString::to_string))
        .collect()
}

fn elements(set: &Set) -> Lines {
    let declared = set.set_type.to_string();
    let elements = set.elements.iter().map(ToString::to_string);
    Lines::Any(std::iter::once(declared).chain(elements).collect())
}

fn tunnels(desired: &Desired) -> PlanObjects {
    let device = |name: &IfName| (Section::WireGuard, name.to_string());
    let mut all: BTreeMap<(Section, String), BTreeSet<String>> = BTreeMap::new();
    for link in &desired.links {
        let mtu = format!("mtu {}", link.mtu);
        all.entry(device(&link.name)).or_default().insert(mtu);
    }
    for (name, address) in &desired.addresses {
        let address = format!("address {address}");
        all.entry(device(name)).or_default().insert(address);
    }
    for (name, config) in &desired.tunnels {
        all.entry(device(name))
            .or_default()
            .extend(configured(config));
    }
    all.into_iter()
        .map(|(key, lines)| (key, Lines::Any(lines)))
        .collect()
}

fn configured(config: &TunnelConfig) -> Vec<String> {
    let port = config.listen_port.map(|port| format!("listen port {port}"));
    let mark = format!("fwmark {:#x}", config.fwmark);
    port.into_iter()
        .chain([mark])
        .chain(config.peers.iter().map(peer))
        .collect()
}

fn peer(peer: &TunnelPeer) -> String {
    let mut line = format!("peer {}", peer.public_key);
    if let Some(endpoint) = peer.endpoint {
        line.push_str(&format!(" endpoint {endpoint}"));
    }
    line.push_str(&format!(" allowed {}", joined(&peer.allowed_ips)));
    if let Some(seconds) = peer.keepalive_seconds {
        line.push_str(&format!(" keepalive {seconds} s"));
    }
    line
}

fn pod(pod: &Pod) -> String {
    let class = match &pod.class {
        Class::Policy { scope } => scope.to_string(),
        Class::Blocked { reason } => format!("Blocked {reason}"),
        Class::Released => "Released".to_owned(),
    };
    let addresses: Vec<_> = pod.addresses.iter().collect();
    format!(
        "{}/{} [{}]: {class}",
        pod.namespace,
        pod.name,
        joined(&addresses)
    )
}

fn route(route: &KernelRoute) -> String {
    let KernelRoute {
        table,
        destination,
        metric,
        kind,
    } = route;
    match kind {
        RouteKind::Device(device) => {
            format!("table {table}: {destination} dev {device} metric {metric}")
        }
        RouteKind::Unreachable => {
            format!("table {table}: unreachable {destination} metric {metric}")
        }
    }
}

fn rule(rule: &RoutingRule) -> String {
    let selector = match &rule.selector {
        RuleSelector::Mark {
            family,
            value,
            mask,
        } => format!("IPv{} fwmark {value:#x}/{mask:#x}", family.digit()),
        RuleSelector::From(address) => format!("from {address}"),
    };
    format!("{}: {selector} lookup {}", rule.priority, rule.table)
}

fn lock(lock: &LockPolicy) -> String {
    let action = match lock.action {
        LockAction::Allow => "allow",
        LockAction::Block => "block",
    };
    let mark = lock
        .mark
        .map(|mark| format!(" mark {:#x}/{:#x}", mark.value, mark.mask))
        .unwrap_or_default();
    format!(
        "src {} dst {} priority {}{mark} {action}",
        lock.source, lock.destination, lock.priority
    )
}

fn answer(entry: &DnsEntry) -> String {
    let scope = entry
        .scope
        .as_ref()
        .map_or("blocked".to_owned(), ToString::to_string);
    let way = entry.exit.as_ref().map_or("SERVFAIL".to_owned(), |exit| {
        let by = exit.exit.as_ref().map_or("the uplink", ExitName::as_str);
        format!("by {by} ({})", exit.device)
    });
    format!(
        "{scope} {} {way} upstreams [{}]",
        json_name(entry.mode),
        joined(&entry.upstreams)
    )
}

fn joined<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
