use postern_intent::body::{Access, ExitFailback, ExitProbe, ServerEndpoint};
use postern_intent::{Address, ExitName, IfName, NodeName, Prefix, WgKey};

use super::policy::SpecRefusal;
use super::selector::ParsedSelector;

#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotExit {
    pub name: ExitName,
    pub generation: i64,
    /// The gateway that a person chose.
    pub selected: Option<SelectedGateway>,
    pub switch: ExitSwitch,
    /// What it offers, or why it is refused.
    pub terms: Result<ExitTerms, SpecRefusal>,
}

/// A gateway that a person chose ([`postern_crds::names::GATEWAY_ANNOTATION`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedGateway {
    pub node: NodeName,
    /// The whole annotation: another one is another choice.
    pub choice: String,
}

/// Is an exit in use? ([`postern_crds::names::OFF_ANNOTATION`])
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExitSwitch {
    #[default]
    On,
    Off,
}

/// What an exit offers.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitTerms {
    /// Which nodes may be its gateway.
    pub gateways: ParsedSelector,
    /// Where the gateway leaves; none: the interface of the default route.
    pub uplink: Option<IfName>,
    /// Source addresses; empty: masquerade.
    pub egress: Vec<Address>,
    /// What it offers, before the cluster's ranges are taken out.
    pub routes: Vec<Prefix>,
    /// The exit's half of the permission to reach private ranges.
    pub lan: Access,
    /// MTU in bytes; none: the setting.
    pub mtu: Option<u16>,
    /// How clients find a gateway to be lost.
    pub probe: ExitProbe,
    pub failback: ExitFailback,
    /// Who may use it.
    pub allowed: ExitNamespaces,
    /// The server behind its gateway; none: the gateway leaves by its own uplink.
    pub external: Option<ExternalTerms>,
}

/// A WireGuard server outside of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalTerms {
    pub endpoint: ServerEndpoint,
    pub server_key: WgKey,
    /// What the server gave to this tunnel, without the networks around it.
    pub addresses: Vec<Address>,
    /// Name of the Secret with the credential.
    pub secret: String,
}

/// Facts about the credential in a Secret. The compiler never sees the credential itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialFacts {
    Usable {
        /// The public half of its private key.
        public_key: WgKey,
        fingerprint: String,
    },
    /// Why it cannot be used.
    Malformed(String),
    /// The API server has not answered yet: the Secret may exist or not.
    Unread,
}

impl ExitTerms {
    /// The probe of an exit that names none, with the defaults of the definition.
    #[must_use]
    pub fn default_probe() -> ExitProbe {
        ExitProbe {
            interval_milliseconds: 100,
            failure_threshold: 3,
            targets: Vec::new(),
        }
    }
}

/// Which namespaces may use an exit.
#[derive(Debug, Clone, PartialEq)]
pub enum ExitNamespaces {
    All,
    /// Those with these labels.
    Selector(ParsedSelector),
}
