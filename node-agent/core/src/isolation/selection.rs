//! Which uplink is preferred.
//!
//! An uplink that was tried and failed comes last. Then the order of the policy counts, then a carrier, then wired before
//! wireless, then the name. A link that is down shows no carrier whatever is at its other end, so that the order of the policy
//! comes before the carrier: the preferred one is tried, and left for the next one when it has none.

use std::collections::BTreeMap;

use postern_intent::body::Isolation;
use postern_plan::host::Carrier;

use super::domain::{Uplink, is_like};
use super::memory::FailedUplink;

/// The uplink to use; none where there is no link that counts.
#[must_use]
pub fn choose<'a>(
    uplinks: &'a [Uplink],
    isolation: &Isolation,
    failed: &BTreeMap<String, FailedUplink>,
) -> Option<&'a Uplink> {
    let has_carrier = |uplink: &Uplink| !uplink.up.is_empty() && uplink.carrier == Carrier::Present;
    let somebody_has = uplinks.iter().any(has_carrier);
    uplinks.iter().min_by_key(|uplink| {
        // A wired port without a carrier does not pin the node while another one has a carrier.
        let is_dead = somebody_has && !uplink.up.is_empty() && !has_carrier(uplink);
        (
            failed.contains_key(&uplink.name) || is_dead,
            rank(uplink, &isolation.preferred),
            !has_carrier(uplink),
            uplink.medium,
            uplink.name.clone(),
        )
    })
}

/// The place of the first pattern that a member fits; what fits none comes last.
fn rank(uplink: &Uplink, preferred: &[String]) -> usize {
    let fits = |pattern: &String| uplink.members.iter().any(|name| is_like(pattern, name));
    preferred.iter().position(fits).unwrap_or(preferred.len())
}
