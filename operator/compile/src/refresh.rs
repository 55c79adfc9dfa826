//! Whether a body says anything new, and when an unchanged one is issued again.

use jiff::Timestamp;
use postern_intent::verify::SKEW_ALLOWANCE;
use postern_intent::{Body, Serial};

use crate::snapshot::Settings;

/// Do two bodies say the same, whatever their serial and times?
pub(crate) fn same_sections(a: &Body, b: &Body) -> bool {
    // Named one by one, so that a new section of the body does not compile until it is compared.
    let Body {
        version,
        node,
        serial: _,
        issued_at: _,
        not_after: _,
        trace_id: _,
        guarded_namespaces,
        cluster,
        tunnels,
        routes,
        nat,
        firewall,
        pods,
        isolation,
        allocations,
    } = a;
    *version == b.version
        && *node == b.node
        && *guarded_namespaces == b.guarded_namespaces
        && *cluster == b.cluster
        && *tunnels == b.tunnels
        && *routes == b.routes
        && *nat == b.nat
        && *firewall == b.firewall
        && *pods == b.pods
        && *isolation == b.isolation
        && *allocations == b.allocations
}

/// Is it time to issue the body again?
///
/// A body from further in the future than an agent accepts was issued by a leader whose clock was ahead. Its age says
/// nothing, and the nodes may refuse it, so it is issued again at once. A smaller difference between the clocks of two
/// replicas is not worth a write for every node at each change of the leader.
pub(crate) fn is_due(now: Timestamp, settings: &Settings, published: &Body) -> bool {
    let age = now.duration_since(published.issued_at);
    age >= settings.refresh || age < -SKEW_ALLOWANCE || published.not_after <= now
}

/// Stamps a body for publishing.
pub(crate) fn stamp(mut body: Body, serial: Serial, now: Timestamp, settings: &Settings) -> Body {
    body.serial = serial;
    body.issued_at = now;
    // A validity beyond what a time stamp can say is cut; jiff's range ends in the year 9999.
    body.not_after = now
        .saturating_add(settings.validity)
        .unwrap_or(Timestamp::MAX);
    body
}
