//! Every pod that is bound to the node and has an address of its own, released ones too: the agent releases only what is
//! listed as released where no plugin gives it a binding.

use postern_intent::body::{BlockedReason, Class, Pod};

use super::NodePlan;
use crate::assign::{AssignedPod, PodDecision};

/// The pods of a node, by namespace and name.
pub(crate) fn lower(plan: &NodePlan<'_>) -> Vec<Pod> {
    let mut pods: Vec<Pod> = plan
        .pods
        .iter()
        .map(|assigned| lower_pod(plan, assigned))
        .collect();
    pods.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
    pods
}

fn lower_pod(plan: &NodePlan<'_>, assigned: &AssignedPod<'_>) -> Pod {
    let class = match &assigned.decision {
        PodDecision::Policy(uid) => match plan.scopes.get(uid) {
            Some(scope) => Class::Policy {
                scope: scope.id.clone(),
            },
            None => Class::Blocked {
                reason: BlockedReason::PolicyRefused,
            },
        },
        PodDecision::Refused(_) => Class::Blocked {
            reason: BlockedReason::PolicyRefused,
        },
        PodDecision::Blocked(reason) => Class::Blocked { reason: *reason },
        PodDecision::Released => Class::Released,
    };
    Pod {
        namespace: assigned.pod.namespace.clone(),
        name: assigned.pod.name.clone(),
        uid: assigned.pod.uid.clone(),
        class,
        addresses: assigned.addresses.clone(),
    }
}
