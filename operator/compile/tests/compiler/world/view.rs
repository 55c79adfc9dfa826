//! How a compilation is shown in a golden file: every section of every body that is published, in lines that can be
//! read, and every verdict that is new.

use std::collections::BTreeMap;
use std::fmt::Display;

use postern_compile::verdict::Verdict;
use postern_compile::{ClusterOutcome, Compilation, NodeOutcome};
use postern_intent::NodeDocument;
use postern_intent::body::{
    Class, EgressPath, EgressTerm, ExitRoute, Isolation, PeerEnd, Pod, Rule, Scope, ServedExit,
    TermsDnsMode, TermsDnsRefusal, Tunnel,
};
use serde::Serialize;

/// Lists of prefixes beyond this are shown by their ends.
const LONG: usize = 6;

/// Shows one step after another.
#[derive(Default)]
pub(crate) struct View {
    known: BTreeMap<String, Vec<String>>,
}

/// One step and what came of it.
#[derive(Serialize)]
pub(crate) struct StepView {
    step: String,
    /// Namespaces that the cluster document guards, where one is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    guarded: Option<Vec<String>>,
    nodes: BTreeMap<String, NodeView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<String>,
    #[serde(rename = "new verdicts", skip_serializing_if = "BTreeMap::is_empty")]
    verdicts: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum NodeView {
    Nothing(&'static str),
    Body(BodyView),
}

#[derive(Serialize)]
struct BodyView {
    serial: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tunnels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nat: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    firewall: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pods: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<String>,
}

impl View {
    /// One step of a story and what came of it.
    pub(crate) fn step(&mut self, says: &str, compilation: &Compilation) -> StepView {
        let held = lines(&compilation.held, |held| {
            format!("{}: {}, {} pods", held.subject, held.cause, held.pods)
        });
        let all: BTreeMap<String, Vec<String>> = compilation.verdicts.iter().map(verdict).collect();
        let new = all
            .iter()
            .filter(|(name, told)| self.known.get(*name) != Some(*told));
        let verdicts = new
            .map(|(name, told)| (name.clone(), told.clone()))
            .collect();
        self.known = all;
        let nodes = compilation
            .nodes
            .iter()
            .map(|(node, outcome)| (node.to_string(), outcome_of(outcome)));
        let guarded = match &compilation.cluster {
            ClusterOutcome::Keep => None,
            ClusterOutcome::Publish(document) => {
                Some(lines(&document.guarded_namespaces, ToString::to_string))
            }
        };
        StepView {
            step: says.to_owned(),
            guarded,
            nodes: nodes.collect(),
            held,
            verdicts,
        }
    }
}

fn outcome_of(outcome: &NodeOutcome) -> NodeView {
    match outcome {
        NodeOutcome::Keep => NodeView::Nothing("kept, byte for byte"),
        NodeOutcome::Restored => NodeView::Nothing("nothing published: Restored"),
        NodeOutcome::Awaited => NodeView::Nothing("nothing published: awaited"),
        NodeOutcome::Publish(body) => NodeView::Body(body_of(body)),
    }
}

fn body_of(body: &NodeDocument) -> BodyView {
    BodyView {
        serial: body.serial.0,
        tunnels: body.tunnels.iter().flat_map(tunnel).collect(),
        routes: lines(&body.routes, route),
        nat: lines(&body.nat, served),
        firewall: body.firewall.iter().flat_map(scope).collect(),
        dns: lines(&body.firewall, |scope| {
            let dns = &scope.terms.dns;
            let upstreams = joined(&dns.upstreams);
            let mode = match (dns.mode, dns.refusal) {
                (TermsDnsMode::Filter, TermsDnsRefusal::Refused) => {
                    "Filter with REFUSED".to_owned()
                }
                (mode, _) => format!("{mode:?}"),
            };
            format!("{}: {mode}, upstreams [{upstreams}]", scope.id)
        }),
        pods: lines(&body.pods, pod),
        isolation: body.isolation.as_ref().map(isolation),
    }
}

fn isolation(isolation: &Isolation) -> String {
    let Isolation {
        policy,
        digest: _,
        preferred,
        exclude,
        hotspot,
        radios,
        confirm_within_seconds,
        remote_links,
    } = isolation;
    let hotspot = hotspot.as_ref().map(|pair| {
        format!(
            ", {} and {} until {}",
            pair.access_point, pair.upstream, pair.not_after
        )
    });
    format!(
        "{policy}: preferred [{}], without [{}]{}, radios {radios:?}, confirmed within {confirm_within_seconds} s, remote links {remote_links:?}",
        joined(preferred),
        joined(exclude),
        hotspot.unwrap_or_default(),
    )
}

fn route(route: &ExitRoute) -> String {
    let ExitRoute {
        exit,
        mark,
        table,
        interface,
        digest: _,
        gateways,
        selection,
        probe,
        failback,
    } = route;
    let gateways = gateways.iter().map(|gateway| {
        let addresses = joined(&gateway.addresses);
        format!("{} at [{addresses}]", gateway.node)
    });
    let gateways: Vec<String> = gateways.collect();
    format!(
        "{exit}: mark {}, table {}, {interface}, gateways {}{}, probed each {} ms, lost after {}, targets [{}], failback {failback:?}",
        mark.number(),
        table.number(),
        gateways.join(", "),
        selection
            .as_ref()
            .map(|choice| format!(" chosen by {choice:?}"))
            .unwrap_or_default(),
        probe.interval_milliseconds,
        probe.failure_threshold,
        joined(&probe.targets),
    )
}

fn lines<'a, T: 'a>(
    items: impl IntoIterator<Item = &'a T>,
    show: impl Fn(&'a T) -> String,
) -> Vec<String> {
    items.into_iter().map(show).collect()
}

fn joined<T: Display>(items: &[T]) -> String {
    match items {
        [first, .., last] if items.len() > LONG => {
            format!("{} entries from {first} to {last}", items.len())
        }
        _ => items
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn tunnel(tunnel: &Tunnel) -> Vec<String> {
    let Tunnel {
        exit,
        role,
        interface,
        listen_port,
        mtu,
        addresses,
        peers,
    } = tunnel;
    let port = listen_port
        .map(|port| format!(" port {port}"))
        .unwrap_or_default();
    let head = format!(
        "{exit} {role:?} {interface}{port} mtu {mtu} [{}]",
        joined(addresses)
    );
    let peers = peers.iter().map(|peer| {
        let endpoint = peer
            .endpoint
            .map(|endpoint| format!(" at {endpoint}"))
            .unwrap_or_default();
        let keepalive = peer
            .keepalive_seconds
            .map(|seconds| format!(" every {seconds} s"))
            .unwrap_or_default();
        let end = match &peer.at {
            PeerEnd::Node { name } => name.to_string(),
            other => format!("{other:?}"),
        };
        let key: String = peer.public_key.to_string().chars().take(6).collect();
        format!(
            "  peer {end}{endpoint}{keepalive} key {key}... allowed [{}]",
            joined(&peer.allowed_ips)
        )
    });
    std::iter::once(head).chain(peers).collect()
}

fn served(served: &ServedExit) -> String {
    let ServedExit {
        exit,
        interface,
        rank,
        uplink,
        egress,
        egress_term,
        routes,
        lan,
        digest: _,
    } = served;
    let term = match egress_term {
        EgressTerm::Intent => String::new(),
        term => format!(" {term:?}"),
    };
    let uplink = uplink
        .as_ref()
        .map_or("default route".to_owned(), ToString::to_string);
    format!(
        "{exit}: gateway {rank}, {interface} to {uplink}, egress [{}]{term}, LAN {lan:?}, routes [{}]",
        joined(egress),
        joined(routes)
    )
}

fn scope(scope: &Scope) -> Vec<String> {
    let exit = scope
        .exit
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let way = match &scope.way {
        EgressPath::Tunnel => format!("Tunnel {exit}"),
        EgressPath::LocalExit => format!("LocalExit {exit}"),
        EgressPath::NodeUplink => "NodeUplink".to_owned(),
        EgressPath::Blocked { reason } => format!("Blocked {reason:?}"),
    };
    let terms = &scope.terms;
    let head = format!(
        "{}: {way}, generation {} of {}, {:?}, replies {:?}, LAN {:?}, special use [{}], flows {:?}",
        scope.id,
        scope.policy.generation,
        scope.policy.uid,
        scope.failure,
        terms.replies,
        terms.lan,
        joined(&terms.special_use_exceptions),
        terms.established_flows,
    );
    let admin = terms.admin.iter().flat_map(|policy| {
        let of = format!(
            "  tier Admin, {} in generation {},",
            policy.name, policy.generation
        );
        let rules = policy.rules.iter();
        rules.map(move |one| {
            let named = rule(&one.allowing()).replace("Allow to", "to");
            format!("{of}{named}: {:?}", one.action)
        })
    });
    let rules = terms.rules.iter().map(rule);
    let rest = format!("  else {:?}", terms.default_action);
    let limits = match terms.limits.is_empty() {
        true => None,
        false => Some(format!("  {:?}", terms.limits)),
    };
    std::iter::once(head)
        .chain(admin)
        .chain(rules)
        .chain([rest])
        .chain(limits)
        .collect()
}

fn rule(rule: &Rule) -> String {
    let ports = rule
        .ports
        .iter()
        .map(|ports| format!("{:?} {}-{}", ports.protocol, ports.from, ports.to));
    let ports: Vec<String> = ports.collect();
    let to = rule.to.iter().map(ToString::to_string);
    let names = rule.names.iter().map(ToString::to_string);
    let to: Vec<String> = to.chain(names).collect();
    format!(
        "  {}: {:?} to [{}] ports [{}]",
        rule.name,
        rule.action,
        joined(&to),
        joined(&ports)
    )
}

fn pod(pod: &Pod) -> String {
    let class = match &pod.class {
        Class::Policy { scope } => scope.to_string(),
        Class::Blocked { reason } => format!("Blocked {reason:?}"),
        Class::Released => "Released".to_owned(),
    };
    let addresses: Vec<_> = pod.addresses.iter().collect();
    format!(
        "{}/{} {} [{}]: {class}",
        pod.namespace,
        pod.name,
        pod.uid,
        joined(&addresses)
    )
}

fn verdict(verdict: &Verdict) -> (String, Vec<String>) {
    let name = match &verdict.namespace {
        Some(namespace) => format!("{} {namespace}/{}", verdict.kind, verdict.name),
        None => format!("{} {}", verdict.kind, verdict.name),
    };
    let conditions = verdict.conditions.iter().map(|finding| {
        format!(
            "{}={} {}: {}",
            finding.kind,
            finding.state.as_str(),
            finding.reason,
            finding.message
        )
    });
    let mut told: Vec<String> = conditions.collect();
    told.push(
        serde_json::to_string(&verdict.detail)
            .expect("JSON")
            .replace('"', ""),
    );
    (name, told)
}
