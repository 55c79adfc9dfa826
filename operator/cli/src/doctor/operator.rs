//! Whether an operator leads.

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use postern_crds::names::OPERATOR_DEPLOYMENT;

use super::finding::{DoctorFinding, Gravity};
use super::snapshot::DoctorSnapshot;

/// Clocks of this machine and of the leader may differ by so much, as agents allow it for documents.
const ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

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
    let message = match lease.and_then(|lease| lease.spec.as_ref()) {
        None => Some("there is no Lease: no operator has ever led".to_owned()),
        Some(_) => lease.and_then(|lease| vacancy(lease, snapshot)),
    };
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

/// Why no operator leads; none: one does.
fn vacancy(lease: &Lease, snapshot: &DoctorSnapshot) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() {
        return Some("the Lease was given back and nobody took it".to_owned());
    }
    let Some(renewed) = spec.renew_time.as_ref() else {
        return Some(format!("{holder} has never renewed the Lease"));
    };
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into());
    let age = snapshot.now.duration_since(renewed.0);
    (age > lasts + ALLOWANCE)
        .then(|| format!("{holder} has not renewed the Lease since {}", renewed.0))
}
