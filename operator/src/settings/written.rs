//! The keys of the file, with what the generated reference says about each. Unknown keys are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use jiff::SignedDuration;
use postern_intent::{Address, NamePattern, Namespace, Prefix};
use schemars::JsonSchema;
use serde::Deserialize;

/// The cluster domain that nearly every cluster has; a cluster with another one says so in the file.
pub(super) const CLUSTER_DOMAIN: &str = "cluster.local";

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct SettingsFile {
    /// Pod ranges as CIDRs, besides those that the Node objects name. Write them where the network plugin does not use
    /// `spec.podCIDRs` of the nodes.
    #[schemars(with = "Vec<String>")]
    pub(super) pod_ranges: Vec<Prefix>,

    /// CIDRs in which the addresses of nodes lie. An address outside of them that a Node object claims counts for nothing.
    /// Empty: every claim counts.
    #[schemars(with = "Vec<String>")]
    pub(super) node_ranges: Vec<Prefix>,

    /// Service ranges as CIDRs, besides those of ServiceCIDR objects. Required before Kubernetes 1.33, which has no such
    /// objects.
    #[schemars(with = "Vec<String>")]
    pub(super) service_ranges: Vec<Prefix>,

    /// The API server's `--service-node-port-range`. A NodePort outside of it is refused once its Service is known.
    #[schemars(with = "WrittenPorts")]
    pub(super) node_ports: Option<WrittenPorts>,

    /// Endpoints of the API server as `address:port`, besides those of the Service `kubernetes`.
    #[schemars(with = "Vec<String>")]
    pub(super) api_servers: BTreeSet<SocketAddr>,

    /// The names of the cluster.
    pub(super) dns: WrittenDns,

    /// Resolvers as `address:port` that are asked through the exit where a policy names none.
    #[schemars(with = "Vec<String>")]
    pub(super) dns_upstreams: Vec<SocketAddr>,

    /// Resolvers over HTTPS that pods of a policy with `dns.mode` Filter or Block do not reach. What is written here replaces the whole
    /// list that this version has, `operator/compile/data/encrypted-resolvers.txt`.
    #[schemars(with = "WrittenResolvers")]
    pub(super) encrypted_resolvers: Option<WrittenResolvers>,

    /// Numbers that tunnels take.
    pub(super) tunnels: WrittenTunnels,

    /// How long an intent is in force, for example `24h`. A node that gets no newer one in this time blocks.
    #[schemars(with = "String")]
    pub(super) validity: Option<SignedDuration>,

    /// After what time an unchanged intent is issued again, or up to a fifth of it earlier; less than `validity`.
    #[schemars(with = "String")]
    pub(super) refresh: Option<SignedDuration>,

    /// The largest envelope in bytes of its JSON, 716800 at most. The largest policies that do not fit are blocked with the
    /// reason `TooLarge`.
    #[schemars(with = "usize")]
    pub(super) envelope_budget: Option<usize>,

    /// What the policies of tenants may ask for. One that asks for more is refused as `NotPermitted`.
    pub(super) ceiling: WrittenCeiling,

    /// Ceilings of single namespaces, by their names. A key that is not written there is as in `ceiling`.
    #[schemars(with = "BTreeMap<String, WrittenCeiling>")]
    pub(super) namespace_ceilings: BTreeMap<Namespace, WrittenCeiling>,

    /// Further namespaces that no ClusterEgressPolicy of tier Baseline is about, whatever its subject says: those of the cluster's own
    /// services, whose pods must start while no operator runs. `kube-system`, `postern-system` and the operator's own are always among
    /// them.
    #[schemars(with = "Vec<String>")]
    pub(super) exempt_namespaces: BTreeSet<Namespace>,

    /// How many pods may be released in a time without an approval.
    pub(super) gate: WrittenGate,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenDns {
    /// The domain of the cluster's own names, the kubelet's `clusterDomain`.
    #[schemars(with = "String")]
    pub(super) domain: Option<String>,

    /// Addresses of the cluster's DNS, besides those of the Service `kube-system/kube-dns`.
    #[schemars(with = "Vec<String>")]
    pub(super) addresses: Vec<Address>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenResolvers {
    /// Their names, or `*.` and a name for every name below it; refused also where a rule allows them.
    #[schemars(with = "Vec<String>")]
    pub(super) names: BTreeSet<NamePattern>,

    /// Their addresses; port 443 of each is refused.
    #[schemars(with = "Vec<String>")]
    pub(super) addresses: BTreeSet<Address>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenTunnels {
    /// One CIDR of each family; every exit gets a network of its own from each. They must be used nowhere else.
    #[schemars(with = "Vec<String>")]
    pub(super) ranges: Option<Vec<Prefix>>,

    /// UDP ports of the gateways, one for each exit.
    #[schemars(with = "WrittenPorts")]
    pub(super) ports: Option<WrittenPorts>,

    /// MTU in bytes of tunnels whose exit names none.
    #[schemars(with = "u16")]
    pub(super) mtu: Option<u16>,

    /// Seconds between two keepalives of a client.
    #[schemars(with = "u16")]
    pub(super) keepalive_seconds: Option<u16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WrittenPorts {
    /// The first port of the range.
    pub(super) start: u16,
    /// The last port of the range, which is part of it.
    pub(super) end: u16,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenCeiling {
    /// Whether a policy may set `lanAccess: Allow`, or allow a private range in a rule.
    #[schemars(with = "WrittenPermission")]
    pub(super) lan: Option<WrittenPermission>,

    /// Whether a policy may set `specialUse.exceptions`.
    #[schemars(with = "WrittenPermission")]
    pub(super) special_use: Option<WrittenPermission>,

    /// Whether a policy may set `dns.upstreams`.
    #[schemars(with = "WrittenPermission")]
    pub(super) upstreams: Option<WrittenPermission>,

    /// Whether a policy may set `failureMode: Open`.
    #[schemars(with = "WrittenPermission")]
    pub(super) fail_open: Option<WrittenPermission>,

    /// Whether a policy may set `route.type: NodeUplink`.
    #[schemars(with = "WrittenPermission")]
    pub(super) node_uplink: Option<WrittenPermission>,

    /// Whether a policy may set `enforcement: Observe`.
    #[schemars(with = "WrittenPermission")]
    pub(super) observe: Option<WrittenPermission>,

    /// The highest `priority` of a policy.
    #[schemars(with = "i32")]
    pub(super) priority: Option<i32>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(super) enum WrittenPermission {
    Granted,
    Withheld,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenGate {
    /// How many pods of one namespace may be released in `gate.window` without an approval. Where `gate.percent` gives more,
    /// that counts.
    #[schemars(with = "usize")]
    pub(super) pods: Option<usize>,

    /// How many pods of one namespace may be released in `gate.window` without an approval, in percent of all pods that are
    /// enforced in the cluster. Where `gate.pods` is more, that counts.
    #[schemars(with = "usize")]
    pub(super) percent: Option<usize>,

    /// The time over which released pods are added up for `gate.pods` and `gate.percent`.
    #[schemars(with = "String")]
    pub(super) window: Option<SignedDuration>,
}
