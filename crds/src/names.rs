//! Names that several programs must spell alike: group, labels, taint, field managers, the operator's objects.

/// API group of every kind of this crate.
pub const GROUP: &str = "postern.dev";

/// API version of every kind of this crate.
pub const VERSION: &str = "v1alpha1";

/// `apiVersion` of every object of this crate.
pub const API_VERSION: &str = "postern.dev/v1alpha1";

/// Category that `kubectl get postern` lists.
pub const CATEGORY: &str = "postern";

/// The annotation of an exit that names the gateway to use first: its node, and behind a space anything that differs from
/// the choice before, such as the time.
pub const GATEWAY_ANNOTATION: &str = "postern.dev/gateway";

/// The annotation of an exit that takes it out of use, whatever its value but `false`.
pub const OFF_ANNOTATION: &str = "postern.dev/off";

/// Label of a namespace whose pods have no way out without a policy, together with [`EGRESS_DENY`].
pub const EGRESS_DEFAULT_LABEL: &str = "postern.dev/egress-default";

/// The one value of [`EGRESS_DEFAULT_LABEL`] that guards a namespace.
pub const EGRESS_DENY: &str = "deny";

/// Label by which gateway nodes are chosen in the samples.
pub const EXIT_LABEL: &str = "postern.dev/exit";

/// Taint (`NoExecute`) that a joining node carries until its report says `FailClosed`.
pub const NOT_SEALED_TAINT: &str = "postern.dev/not-sealed";

/// Annotation of a NodeIntent: the term of the operator under which it was last written. A new one asks the node's agent to
/// say at once what it has seen.
pub const EPOCH_ANNOTATION: &str = "postern.dev/epoch";

/// Name of the NodeIntent that carries the cluster document, which every node reads. No node may have this name.
pub const CLUSTER_INTENT: &str = "cluster.postern.dev";

/// Field manager of what the operator writes.
pub const OPERATOR_FIELD_MANAGER: &str = "postern-operator";

/// Field manager of the status that a node's agent writes into its own report.
pub const AGENT_FIELD_MANAGER: &str = "postern-agent";

/// Field manager of what people write with `posternctl`.
pub const CTL_FIELD_MANAGER: &str = "posternctl";

/// Namespace of operator and agents, unless somebody installed them elsewhere.
pub const SYSTEM_NAMESPACE: &str = "postern-system";

/// Deployment of the operator, and the Lease by which one of its replicas leads.
pub const OPERATOR_DEPLOYMENT: &str = "postern-operator";

/// DaemonSet of the agents.
pub const AGENT_DAEMON_SET: &str = "postern-agent";

/// DaemonSet of the tunnel processes.
pub const TUNNEL_DAEMON_SET: &str = "postern-tunnel";

/// ConfigMap with the administrator's settings file.
pub const SETTINGS_CONFIG_MAP: &str = "postern-settings";

/// ConfigMap in which the operator remembers what one compile asks the next to know, policies apart.
pub const MEMORY_CONFIG_MAP: &str = "postern-memory";

/// How many ConfigMaps hold remembered policies. Their names stand in the operator's role, so that it may change no other
/// ConfigMap: another number would need another role.
pub const MEMORY_POLICY_PAGES: u8 = 16;

/// A ConfigMap of remembered policies, with a number below [`MEMORY_POLICY_PAGES`].
#[must_use]
pub fn memory_policy_page(number: u8) -> String {
    format!("{MEMORY_CONFIG_MAP}-policies-{number:x}")
}

/// Entry of [`MEMORY_CONFIG_MAP`]: what waits for an approval, as JSON.
pub const HELD_ENTRY: &str = "held.json";

/// ConfigMap of people's approvals, one in YAML for each entry.
pub const APPROVALS_CONFIG_MAP: &str = "postern-approvals";
