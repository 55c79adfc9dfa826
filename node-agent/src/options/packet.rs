//! The command line of `postern-agent explain`.

use std::num::NonZeroU16;

use clap::Args;
use postern_control::ExplainRequest;
use postern_control::explained::AskedDestination;
use postern_intent::body::RuleProtocol;
use postern_intent::newtypes::NewtypeError;
use postern_intent::{NamePattern, Namespace, PodName};

/// One packet of a pod.
#[derive(Debug, Args)]
pub struct PacketArgs {
    /// The pod.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = parse_pod)]
    pub pod: (Namespace, PodName),
    /// Where the packet goes to: an address, or a name whose answer the pod uses.
    #[arg(long, value_name = "ADDRESS|NAME", value_parser = parse_destination)]
    pub to: AskedDestination,
    /// The port that it goes to; ICMP has none.
    #[arg(long)]
    pub port: Option<NonZeroU16>,
    /// TCP, UDP, SCTP or ICMP.
    #[arg(long, default_value = "TCP", value_parser = parse_protocol)]
    pub protocol: RuleProtocol,
}

impl PacketArgs {
    /// The question to the agent.
    #[must_use]
    pub fn request(&self) -> ExplainRequest {
        let (namespace, pod) = self.pod.clone();
        ExplainRequest {
            namespace,
            pod,
            target: self.to.clone().target(self.protocol, self.port),
        }
    }
}

fn parse_pod(text: &str) -> Result<(Namespace, PodName), String> {
    let (namespace, name) = text
        .split_once('/')
        .ok_or_else(|| "a pod is namespace/name".to_owned())?;
    let namespace = namespace.parse();
    let namespace = namespace.map_err(|error: NewtypeError| error.to_string())?;
    let name = name.parse();
    Ok((
        namespace,
        name.map_err(|error: NewtypeError| error.to_string())?,
    ))
}

fn parse_destination(text: &str) -> Result<AskedDestination, String> {
    AskedDestination::read(text, |name| {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let name: NamePattern = name
            .parse()
            .map_err(|error: NewtypeError| error.to_string())?;
        match name.below() {
            None => Ok(name),
            Some(_) => Err("a pod asks for one name, such as api.example.org".to_owned()),
        }
    })
}

fn parse_protocol(text: &str) -> Result<RuleProtocol, String> {
    match text {
        "TCP" => Ok(RuleProtocol::Tcp),
        "UDP" => Ok(RuleProtocol::Udp),
        "SCTP" => Ok(RuleProtocol::Sctp),
        "ICMP" => Ok(RuleProtocol::Icmp),
        _ => Err("TCP, UDP, SCTP or ICMP".to_owned()),
    }
}
