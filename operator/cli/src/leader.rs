//! Whether an operator leads, by its Lease.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;

/// Clocks of this machine and of the leader may differ by so much, as agents allow it for documents.
const ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

/// The holder of the Lease.
///
/// # Errors
/// Why the Lease has no valid holder, as a sentence.
pub(crate) fn leader(lease: Option<&Lease>, now: Timestamp) -> Result<String, String> {
    let spec = lease.and_then(|lease| lease.spec.as_ref());
    let spec = spec.ok_or_else(|| "there is no Lease: no operator has ever led".to_owned())?;
    let holder = spec.holder_identity.clone().unwrap_or_default();
    if holder.is_empty() {
        return Err("the Lease was given back and nobody took it".to_owned());
    }
    let Some(renewed) = spec.renew_time.as_ref() else {
        return Err(format!("{holder} has never renewed the Lease"));
    };
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into());
    if now.duration_since(renewed.0) > lasts + ALLOWANCE {
        return Err(format!(
            "{holder} has not renewed the Lease since {}",
            renewed.0
        ));
    }
    Ok(holder)
}
