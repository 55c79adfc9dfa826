//! Every pod that is bound to the node and can be told apart, released ones too: the agent releases only what is
//! listed as released where no plugin gives it a binding.

use postern_intent::body::{BlockedReason, Class, Pod};

use super::NodePlan;
use crate::assign::{Assigned, Decision};

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

fn lower_pod(plan: &NodePlan<'_>, assigned: &Assigned<'_>) -> Pod {
    let class = match &assigned.decision {
        Decision::Policy(uid) => match plan.scopes.get(uid) {
            Some(scope) => Class::Policy {
                scope: scope.id.clone(),
            },
            None => Class::Blocked {
                reason: BlockedReason::PolicyRefused,
            },
        },
        Decision::Refused(_) => Class::Blocked {
            reason: BlockedReason::PolicyRefused,
        },
        Decision::Blocked(reason) => Class::Blocked { reason: *reason },
        Decision::Released => Class::Released,
    };
    Pod {
        namespace: assigned.pod.namespace.clone(),
        name: assigned.pod.name.clone(),
        uid: assigned.pod.uid.clone(),
        class,
        addresses: assigned.addresses.clone(),
    }
}
