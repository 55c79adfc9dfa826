//! What the forwarder of the node does with a question for a name that is not the cluster's. Names of the cluster go to the
//! cluster's resolver, whatever the pod may do.

use std::net::SocketAddr;

use postern_intent::body::TermsDnsMode;
use postern_intent::{Address, ExitName};
use serde::{Deserialize, Serialize};

use crate::desired::{AskedResolver, DnsPlan, Lease, NotAsked};

/// What becomes of a question for a name that is not the cluster's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum NameAnswer {
    /// It is asked by the exit.
    Asked {
        /// None: by the uplink of the pod's node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<ExitName>,
        /// The resolvers, in order; none: those of the node's settings.
        resolvers: Vec<SocketAddr>,
    },
    /// It is asked by the exit if a rule allows the name, and refused else.
    Filtered {
        /// As for [`Asked`](Self::Asked).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<ExitName>,
        /// As for [`Asked`](Self::Asked).
        resolvers: Vec<SocketAddr>,
    },
    NotAsked {
        reason: NotAsked,
    },
}

impl NameAnswer {
    /// For a question from this pod's address to this resolver.
    /// `own` are the node's resolvers; none: they are not known, and are taken to answer.
    pub(super) fn of(
        plan: &DnsPlan,
        pod: &Address,
        lease: Lease,
        asked: AskedResolver,
        own: Option<&[SocketAddr]>,
    ) -> Self {
        // The rules redirect nobody who has no entry.
        let entry = plan.entries.get(pod).ok_or(NotAsked::Refused);
        let is_filtered = entry.is_ok_and(|entry| entry.mode == TermsDnsMode::Filter);
        match entry.and_then(|entry| plan.outside(entry, lease, Some(asked), own)) {
            Ok(asked) if is_filtered => Self::Filtered {
                exit: asked.exit.exit.clone(),
                resolvers: asked.resolvers,
            },
            Ok(asked) => Self::Asked {
                exit: asked.exit.exit.clone(),
                resolvers: asked.resolvers,
            },
            Err(reason) => Self::NotAsked { reason },
        }
    }
}
