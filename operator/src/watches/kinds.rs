use std::fmt;

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedKind {
    ExitNode,
    EgressPolicy,
    ClusterEgressPolicy,
    InterfaceIsolation,
    NodeIntent,
    NodeReport,
    Node,
    Pod,
    Namespace,
    Service,
    ServiceCidr,
    /// The API server's endpoints.
    EndpointSlice,
    /// The definition of policies.
    Definition,
    /// The operator's own ConfigMaps.
    ConfigMap,
}

impl WatchedKind {
    pub const ALL: [Self; 14] = [
        Self::ExitNode,
        Self::EgressPolicy,
        Self::ClusterEgressPolicy,
        Self::InterfaceIsolation,
        Self::NodeIntent,
        Self::NodeReport,
        Self::Node,
        Self::Pod,
        Self::Namespace,
        Self::Service,
        Self::ServiceCidr,
        Self::EndpointSlice,
        Self::Definition,
        Self::ConfigMap,
    ];

    /// Whether a cluster need not serve the kind. `networking.k8s.io/v1` has ServiceCIDR from Kubernetes 1.33 on; before,
    /// the ranges are in the settings.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::ServiceCidr)
    }

    /// The kind as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExitNode => "ExitNode",
            Self::EgressPolicy => "EgressPolicy",
            Self::ClusterEgressPolicy => "ClusterEgressPolicy",
            Self::InterfaceIsolation => "InterfaceIsolation",
            Self::NodeIntent => "NodeIntent",
            Self::NodeReport => "NodeReport",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::ServiceCidr => "ServiceCIDR",
            Self::EndpointSlice => "EndpointSlice",
            Self::Definition => "CustomResourceDefinition",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl fmt::Display for WatchedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
