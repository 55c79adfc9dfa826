//! Whether a document says anything new, and when an unchanged one is issued again.

use jiff::Timestamp;
use postern_intent::NodeDocument;
use postern_intent::verify::SKEW_ALLOWANCE;

use crate::snapshot::CompilerSettings;

/// Do two documents of a node say the same, whatever their serials and times?
pub(crate) fn same_sections(a: &NodeDocument, b: &NodeDocument) -> bool {
    // Named one by one, so that a new section of the document does not compile until it is compared.
    let NodeDocument {
        version,
        node,
        serial: _,
        cluster_serial: _,
        issued_at: _,
        not_after: _,
        trace_id: _,
        local_pod_ranges,
        local_addresses,
        tunnels,
        routes,
        nat,
        external,
        firewall,
        pods,
        isolation,
        allocations,
    } = a;
    *version == b.version
        && *node == b.node
        && *local_pod_ranges == b.local_pod_ranges
        && *local_addresses == b.local_addresses
        && *tunnels == b.tunnels
        && *routes == b.routes
        && *nat == b.nat
        && *external == b.external
        && *firewall == b.firewall
        && *pods == b.pods
        && *isolation == b.isolation
        && *allocations == b.allocations
}

/// One more than the largest [`spread`].
const SPREAD: i32 = 1024;

/// A number below [`SPREAD`] that a name always has: the lowest bits of FNV-1a.
fn spread(name: &str) -> i32 {
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = name.bytes().fold(0x811c_9dc5, fold);
    i32::try_from(hash % SPREAD.unsigned_abs()).unwrap_or(0)
}

/// When a document was issued, and how long it stays in force.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validity {
    pub(crate) issued_at: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    /// Of a document that is issued now. A validity beyond what a time stamp can say is cut; jiff's range ends in the year
    /// 9999.
    pub(crate) fn from_now(now: Timestamp, settings: &CompilerSettings) -> Self {
        let not_after = now
            .saturating_add(settings.validity)
            .unwrap_or(Timestamp::MAX);
        Self {
            issued_at: now,
            not_after,
        }
    }

    /// Is it time to issue the document again?
    ///
    /// A document from further in the future than an agent accepts was issued by a leader whose clock was ahead. Its age says
    /// nothing, and the nodes may refuse it, so it is issued again at once. A smaller difference between the clocks of two
    /// replicas is not worth a write for every node at each change of the leader.
    ///
    /// What was issued together is not issued again together: each is due up to a fifth of the time early, by its name.
    pub(crate) fn is_due(self, now: Timestamp, settings: &CompilerSettings, name: &str) -> bool {
        let age = now.duration_since(self.issued_at);
        // Divided before it is multiplied, so that no setting is too large.
        let early = settings.refresh / 5 / SPREAD * spread(name);
        age >= settings.refresh - early || age < -SKEW_ALLOWANCE || self.not_after <= now
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::Validity;
    use crate::snapshot::CompilerSettings;

    #[test]
    fn no_setting_of_refresh_is_too_large_or_too_small_to_be_judged() {
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        for (refresh, is_due) in [
            (SignedDuration::MAX, false),
            (SignedDuration::from_hours(1), false),
            (SignedDuration::ZERO, true),
            (SignedDuration::MIN, true),
        ] {
            let settings = CompilerSettings {
                refresh,
                validity: SignedDuration::MAX,
                ..CompilerSettings::default()
            };
            let issued = Validity::from_now(now, &settings);
            for name in ["n1", "a-node-of-another-name", ""] {
                assert_eq!(
                    issued.is_due(now, &settings, name),
                    is_due,
                    "{refresh:?} {name}"
                );
            }
        }
    }
}
