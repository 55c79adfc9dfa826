//! Whether an operator leads.

use postern_crds::names::OPERATOR_DEPLOYMENT;

use super::finding::{DoctorFinding, Gravity};
use super::snapshot::DoctorSnapshot;
use crate::leader::leader;

pub(super) fn findings(snapshot: &DoctorSnapshot) -> Vec<DoctorFinding> {
    let object = ("Lease", OPERATOR_DEPLOYMENT);
    let lease = match &snapshot.lease {
        Ok(lease) => lease.as_ref(),
        Err(why) => {
            return vec![DoctorFinding::of(
                Gravity::Notice,
                "NotLookedAt",
                object,
                format!("whether an operator leads is not looked at: {why}"),
                "bind the roles postern-approver, or run it as an administrator",
            )];
        }
    };
    let message = leader(lease, snapshot.now).err();
    let finding = message.map(|message| {
        DoctorFinding::of(
            Gravity::Degraded,
            "NoLeader",
            object,
            format!("{message}: nothing is decided, and nodes block when their intents run out"),
            "kubectl -n postern-system get pods -l app.kubernetes.io/component=operator, and their logs",
        )
    });
    finding.into_iter().collect()
}
