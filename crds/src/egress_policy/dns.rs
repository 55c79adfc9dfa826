//! How the selected pods resolve names.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the selected pods resolve names. Cluster names always go to the cluster's own DNS.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dns {
    /// What happens to queries for names outside the cluster.
    #[serde(default)]
    pub mode: DnsMode,

    /// Servers that are asked, through the exit, whatever the rules say. Without any: those of the operator's setting
    /// `dnsUpstreams`; else the address that the pod asked, if it is outside the cluster (REFUSED where the policy does not
    /// allow it); else the resolvers of the node: those of the agent's `--dns-upstreams`, or those of its
    /// resolv.conf (through an exit only ones with public addresses); else the answer is REFUSED. With no working exit the answer is SERVFAIL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::address::upstreams")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub upstreams: Vec<String>,

    /// The answer for a name that no rule allows; with mode Filter.
    #[serde(default)]
    pub refusal: DnsRefusal,
}

/// What happens to queries for names outside the cluster.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum DnsMode {
    /// They are asked through the exit.
    #[default]
    Forward,
    /// Only names that a rule allows are asked, through the exit; the resolver that the pod asked is never one. An answer is
    /// withheld until the kernel lets connections to its addresses through. Addresses of the cluster, of special use, and
    /// private ones without lanAccess, are taken out of it.
    Filter,
    /// They are refused.
    Block,
}

/// The answer for a refused name.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum DnsRefusal {
    /// The name does not exist.
    #[default]
    NXDOMAIN,
    /// The server will not answer.
    REFUSED,
}
