//! Names that several programs must spell alike: group, labels, taint, field managers.

/// API group of every kind of this crate.
pub const GROUP: &str = "postern.dev";

/// API version of every kind of this crate.
pub const VERSION: &str = "v1alpha1";

/// `apiVersion` of every object of this crate.
pub const API_VERSION: &str = "postern.dev/v1alpha1";

/// Category that `kubectl get postern` lists.
pub const CATEGORY: &str = "postern";

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

/// Field manager of what the operator writes.
pub const OPERATOR_FIELD_MANAGER: &str = "postern-operator";

/// Field manager of the status that a node's agent writes into its own report.
pub const AGENT_FIELD_MANAGER: &str = "postern-agent";
