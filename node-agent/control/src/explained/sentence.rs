//! The answer about a packet in a sentence, and what it takes for granted.

use std::net::SocketAddr;

use postern_intent::body::{PortSpan, RuleProtocol};
use postern_intent::{Body, ExitName};
use postern_plan::desired::NotAsked;
use postern_plan::explain::{LegEnd, NameAnswer, NodeLeg, NodeModel};

use super::packet::ExplainedPacket;
use super::question::{DestinationOrigin, PacketQuestion};

/// What becomes of the packet. `end` is how it ended on the last node that judged it.
pub(super) fn summary(explained: &ExplainedPacket, end: &LegEnd) -> String {
    let why = explained.cause.as_ref().map(ToString::to_string);
    let why = why.unwrap_or_default();
    let gateway = explained.gateway.as_ref();
    match end {
        LegEnd::Exit { exit, source } => {
            let gateway = gateway.map(ToString::to_string).unwrap_or_default();
            let source = match source {
                Some(source) => source.to_string(),
                None => "the address of the gateway's uplink".to_owned(),
            };
            format!(
                "it leaves by exit {exit} through gateway {gateway} with source {source}: {why}"
            )
        }
        LegEnd::Tunnel(entry) => match gateway {
            None => format!(
                "it leaves by exit {}, which ends outside of the cluster: {why}",
                entry.exit
            ),
            Some(gateway) => match &explained.gateway_error {
                Some(error) => format!(
                    "it goes into the tunnel of exit {}: {why}. What gateway {gateway} does with it is not known: {error}",
                    entry.exit
                ),
                None => format!(
                    "it goes into the tunnel of exit {} to gateway {gateway}, which judges it too: {why}",
                    entry.exit
                ),
            },
        },
        LegEnd::Uplink => format!(
            "it leaves by the uplink of its node, with the source that the node gives it: {why}"
        ),
        LegEnd::Stays => format!("it stays in the cluster: {why}"),
        LegEnd::Delivered => format!("it reaches the node itself: {why}"),
        LegEnd::Rejected => format!("it is refused{}: {why}", at_gateway(explained)),
        LegEnd::Dropped => format!("it is dropped silently{}: {why}", at_gateway(explained)),
        LegEnd::Forwarder { port, names } => format!(
            "it goes to port {port} of its node, where the DNS forwarder asks the cluster's resolver for names of the cluster; \
             {}: {why}",
            others(names)
        ),
        LegEnd::Translated => format!(
            "not known: {} is an address of a Service. The node translates it to an endpoint before Postern judges it; ask \
             with the address and the port of the endpoint",
            explained.packet.destination
        ),
    }
}

fn at_gateway(explained: &ExplainedPacket) -> String {
    match &explained.nodes[..] {
        [_, gateway] => format!(" at gateway {}", gateway.node),
        _ => String::new(),
    }
}

/// What becomes of questions for names that are not the cluster's.
fn others(names: &NameAnswer) -> String {
    let why = match names {
        NameAnswer::Asked { exit, resolvers } => {
            return format!("others are asked {}", asked(exit.as_ref(), resolvers));
        }
        NameAnswer::Filtered { exit, resolvers } => {
            return format!(
                "names that a rule allows are asked {}, and others are refused",
                asked(exit.as_ref(), resolvers)
            );
        }
        NameAnswer::NotAsked { reason } => match reason {
            NotAsked::Refused => "are refused",
            NotAsked::ResolverRefused => {
                "are refused, because the policy does not let the pod ask this resolver"
            }
            NotAsked::NoResolver => "are refused, because nothing names a resolver for them",
            NotAsked::NoExit => "fail, because there is no exit to ask by",
            NotAsked::NoLease => "fail, because the intent has run out",
            NotAsked::NotReached => {
                "fail, because the exit has no address of the resolvers' family, or does not offer their addresses"
            }
        },
    };
    format!("others {why}")
}

/// By which way and at which resolvers.
fn asked(exit: Option<&ExitName>, resolvers: &[SocketAddr]) -> String {
    let way = match exit {
        Some(exit) => format!("by exit {exit}"),
        None => "by the uplink of the node".to_owned(),
    };
    if resolvers.is_empty() {
        return format!("{way} at the resolvers of the agent's settings");
    }
    let resolvers: Vec<String> = resolvers.iter().map(ToString::to_string).collect();
    format!("{way} at {}", resolvers.join(", "))
}

/// What an answer for a name opens.
pub(super) fn granted(question: &PacketQuestion, model: &NodeModel<'_>) -> Option<String> {
    let address = question.packet.destination;
    match &question.name {
        Some(name) if question.origin == DestinationOrigin::StandIn => Some(format!(
            "the pod was answered that {name} has the address {address}, which stands for any that no rule names by a cidr; ask with the address itself where one does"
        )),
        Some(name) if model.is_granted() => Some(format!(
            "the pod was answered that {name} has the address {address}, and the answer is still valid"
        )),
        Some(name) => Some(format!(
            "no answer for {name} opens {address}: no rule of the pod's policy allows the name, or no answer may bring the address"
        )),
        None if model.filters_names(&question.packet.source) => Some(format!(
            "no answer for a name led the pod to {address}; ask with --answered-for to see what one opens"
        )),
        None => None,
    }
}

/// What the answer takes for granted.
pub(super) fn assumed(question: &PacketQuestion, body: &Body, leg: &NodeLeg) -> Vec<String> {
    let mut assumed = vec![
        format!(
            "node {} carries serial {} of its intent and serial {} of the cluster document",
            body.node.name, body.serial, body.cluster_serial
        ),
        "the agents have their default settings, pods are behind cni0, and what no rule of Postern routes leaves by the \
         default route, which is called default-route"
            .to_owned(),
        "it is the first packet of a new connection, and no other program drops or translates it".to_owned(),
    ];
    if let LegEnd::Tunnel(entry) = &leg.end {
        let gateways: Vec<String> = entry.gateways.iter().map(ToString::to_string).collect();
        assumed.push(match &gateways[..] {
            [] | [_] => "the tunnel carries".to_owned(),
            all => format!(
                "the tunnel carries, and of the gateways {} the first is in use",
                all.join(", ")
            ),
        });
    }
    if matches!(leg.end, LegEnd::Tunnel(_) | LegEnd::Exit { .. }) {
        let egress = "the source addresses of the exit are on the uplink of its gateway";
        assumed.push(egress.to_owned());
    }
    assumed.extend(translated(question, body, &leg.end));
    if !body.pods.iter().any(|pod| pod.uid == question.pod.uid) {
        assumed.push(
            "the intent does not list the pod, and the pod was not guarded before".to_owned(),
        );
    }
    assumed
}

/// What the answer of the node itself takes for granted.
pub(super) fn assumed_by_node(question: &PacketQuestion, body: &Body, end: &LegEnd) -> Vec<String> {
    let mut assumed = vec![
        "it is the first packet of a new connection, no limit of the policy is used up, and no other program drops or translates it"
            .to_owned(),
    ];
    if let Some(name) = &question.name {
        assumed.push(format!(
            "the pod asks for {name}, and the answer brings {}, which stands for any that no rule names by a cidr",
            question.packet.destination
        ));
    }
    assumed.extend(translated(question, body, end));
    assumed
}

/// Addresses at which other programs translate connections at some ports: what they make of them is judged instead.
fn translated(question: &PacketQuestion, body: &Body, end: &LegEnd) -> Option<String> {
    let packet = &question.packet;
    let cluster = &body.cluster;
    let holds = |span: &PortSpan| (span.from..=span.to).contains(&packet.port);
    let is_node_port = *end == LegEnd::Delivered
        && packet.protocol != RuleProtocol::Icmp
        && cluster.node_ports.iter().any(holds);
    let socket = (packet.destination, packet.port).into();
    let is_service = cluster.service_addresses.contains(&packet.destination)
        || *end == LegEnd::Delivered && cluster.node_services.contains(&socket);
    (is_node_port || is_service).then(|| {
        format!(
            "no Service has port {} at {}: of one that has, the endpoint is judged instead",
            packet.port, packet.destination
        )
    })
}
