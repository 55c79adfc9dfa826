//! The steps of an uninstallation.

use serde::Serialize;

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum UninstallStep {
    Policies,
    Scopes,
    Operator,
    Plugin,
    Nodes,
    Workloads,
    Hosts,
    Objects,
    Definitions,
}

impl UninstallStep {
    /// Every step, in its order.
    pub const ALL: [Self; 9] = [
        Self::Policies,
        Self::Scopes,
        Self::Operator,
        Self::Plugin,
        Self::Nodes,
        Self::Workloads,
        Self::Hosts,
        Self::Objects,
        Self::Definitions,
    ];

    /// What it does, and why it comes where it does.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Policies => {
                "delete every EgressPolicy, and take the label postern.dev/egress-default from every namespace"
            }
            Self::Scopes => {
                "wait until signed intents have released every pod, and every node reports it"
            }
            Self::Operator => {
                "stop the operator, whose next intent would seal a released node again"
            }
            Self::Plugin => {
                "take the plugin out of the CNI configuration of every node, so that pods start without an agent"
            }
            Self::Nodes => {
                "release every node: its agent takes away what it put into the kernel, the guard last, and reports Released"
            }
            Self::Workloads => "delete the DaemonSets of agents and tunnel processes",
            Self::Hosts => "clean up what agents left in the folders of their hosts",
            Self::Objects => "delete exits, isolations, intents and reports",
            Self::Definitions => "delete the definitions of the six kinds",
        }
    }

    /// Whether nothing may select or guard a pod while it is done, because it takes away what holds pods.
    #[must_use]
    pub const fn needs_no_policies(self) -> bool {
        matches!(self, Self::Operator | Self::Plugin | Self::Nodes)
    }

    /// Whether every node has to be released before it.
    #[must_use]
    pub const fn needs_released_nodes(self) -> bool {
        matches!(
            self,
            Self::Workloads | Self::Hosts | Self::Objects | Self::Definitions
        )
    }
}
