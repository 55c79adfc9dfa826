//! Names of chains, sets and counters. A name that is made from a user's word carries a hash of it, so that two words
//! never make one name and no word can be a keyword of nft's language.

use postern_intent::body::{AdminPolicy, AdminRule, Rule, RulePortRange};
use postern_intent::{ExitName, NamePattern, Prefix, ScopeId, hex};
use sha2::{Digest as _, Sha256};

use crate::host::Family;
use crate::ruleset::{Counter, LimitMeasure};

pub const HOLD: Counter = Counter("hold");
/// Refused by a policy or a block.
pub const BLOCKED: Counter = Counter("blocked");
/// An untranslated service address.
pub const SERVICE: Counter = Counter("service");
pub const NO_LEASE: Counter = Counter("no_lease");
/// Not for pods: a tunnel's endpoint.
pub const ENDPOINT: Counter = Counter("endpoint");
/// A packet to a node that carries another packet.
pub const ENCAPSULATED: Counter = Counter("encapsulated");
/// Replies of inbound connections that went back.
pub const INBOUND: Counter = Counter("inbound");
/// A pod link sent with a source that is no pod's.
pub const SPOOF: Counter = Counter("spoof");
/// A pod's source from somewhere else.
pub const SPOOF_IN: Counter = Counter("spoof_in");
/// A packet for a tunnel address that no tunnel brought.
pub const INJECT: Counter = Counter("inject");
/// An untranslated packet into a tunnel.
pub const TUNNEL_RAW: Counter = Counter("tunnel_raw");
/// A source that is not the tunnel's.
pub const TUNNEL_SOURCE: Counter = Counter("tunnel_source");
/// A source that is not the exit's.
pub const LOCAL_SOURCE: Counter = Counter("local_source");
/// An egress address that is not on the node, such as one that another gateway has by now.
pub const EGRESS_ABSENT: Counter = Counter("egress_absent");
pub const LAST: Counter = Counter("last");
/// For an address that is no service.
pub const NO_SERVICE: Counter = Counter("no_service");
/// A DNS question to the forwarder that did not come from a pod.
pub const DNS_FOREIGN: Counter = Counter("dns_foreign");
/// A DNS question that another program keeps out of connection tracking.
pub const DNS_UNTRACKED: Counter = Counter("dns_untracked");
/// Another way to resolve a name than the forwarder, of a pod whose names are filtered or blocked.
pub const OTHER_RESOLVER: Counter = Counter("other_resolver");
/// A connection more than a limit of its pod's policy allows at a time.
pub const OVER_CONNECTIONS: Counter = Counter("over_connections");
/// A new connection more than a limit of its pod's policy allows in a second.
pub const OVER_NEW_CONNECTIONS: Counter = Counter("over_new_connections");
/// More packets in a second than a limit of the pod's policy allows.
pub const OVER_PACKETS: Counter = Counter("over_packets");
/// More bytes in a second than a limit of the pod's policy allows.
pub const OVER_BYTES: Counter = Counter("over_bytes");
/// A packet of a connection that a policy would keep and that the set of its scope has no room for.
pub const KEEP_FULL: Counter = Counter("keep_full");
/// A packet of which no record was made, because there were too many.
pub const NOT_RECORDED: Counter = Counter("not_recorded");
/// Left by an exit that this node serves.
pub const EXIT_OUT: Counter = Counter("exit_out");
/// Refused by an exit that this node serves.
pub const EXIT_DROP: Counter = Counter("exit_drop");
/// The bridge: not the binding's port, MAC or address.
pub const BIND: Counter = Counter("bind");
/// The bridge: ARP for somebody else's address.
pub const BIND_ARP: Counter = Counter("bind_arp");
/// The bridge: neighbour discovery for somebody else's address.
pub const BIND_ND: Counter = Counter("bind_nd");

/// ARP: a request for a tunnel address.
pub const ASKED: Counter = Counter("asked");

/// Would leave an isolated node by an interface that is not its uplink.
pub const ISOLATED: Counter = Counter("isolated");

/// Counters of the inet table.
pub const COUNTERS: [Counter; 27] = [
    HOLD,
    BLOCKED,
    SERVICE,
    NO_LEASE,
    ENDPOINT,
    ENCAPSULATED,
    INBOUND,
    SPOOF,
    SPOOF_IN,
    INJECT,
    TUNNEL_RAW,
    TUNNEL_SOURCE,
    LOCAL_SOURCE,
    EGRESS_ABSENT,
    LAST,
    NO_SERVICE,
    DNS_FOREIGN,
    DNS_UNTRACKED,
    OTHER_RESOLVER,
    OVER_CONNECTIONS,
    OVER_NEW_CONNECTIONS,
    OVER_PACKETS,
    OVER_BYTES,
    KEEP_FULL,
    NOT_RECORDED,
    EXIT_OUT,
    EXIT_DROP,
];

/// Counters of the bridge table.
pub const BRIDGE_COUNTERS: [Counter; 3] = [BIND, BIND_ARP, BIND_ND];

/// The base chain of the guard.
pub const GUARD_CHAIN: &str = "guard";
/// The chain of a pod that no policy selects, in the guard.
pub const RELEASED_CHAIN: &str = "released";
/// The chain of a pod that no policy selects, before SNAT.
pub const LAST_RELEASED_CHAIN: &str = "last_released";
/// The sets of pods that leave by the node's own uplink with the node's address, without the family.
pub const BY_UPLINK: &str = "by_uplink";
/// The sets of this node's pod addresses, without the family.
pub const LOCAL_SET: &str = "local";
/// The sets of egress addresses, without the family.
pub const EGRESS_SET: &str = "egress";
/// The maps from a pod's address to its chain in the guard, without the family.
pub const GUARD_MAP: &str = "from";
/// The maps from a pod's address to the chain of its exit's mark, without the family.
pub const STEER_MAP: &str = "steer";
/// The maps from a pod's address to its chain before SNAT, without the family.
pub const LAST_MAP: &str = "last";

/// What the names of sets begin with that hold the addresses of answers.
pub const GRANTED: &str = "granted";
/// What the names of sets begin with that hold the destinations of open connections.
pub const KEPT: &str = "kept";

fn readable(prefix: &str, word: &str) -> String {
    let digest = Sha256::digest(word.as_bytes());
    format!("{prefix}_{}_{}", plain(word), hex(&digest[..4]))
}

fn plain(word: &str) -> String {
    word.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(40)
        .collect()
}

/// What tells the grants of one rule of one scope from those of any other. It changes with the names that the rule allows: what
/// was granted for a name that is no longer there is gone with the first packet after the change. The hash is long, because a
/// tenant chooses the names of rules and must not meet the sets of another one.
fn of_rule(prefix: &str, scope: &ScopeId, rule: &Rule) -> String {
    let names = rule.names.iter().map(NamePattern::as_str);
    let parts = [scope.as_str(), &rule.name].into_iter().chain(names);
    of_parts(prefix, scope, parts)
}

fn of_parts(
    prefix: &str,
    scope: &ScopeId,
    parts: impl IntoIterator<Item = impl AsRef<str>>,
) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    format!(
        "{prefix}_{}_{}",
        plain(scope.as_str()),
        hex(&digest.finalize()[..12])
    )
}

/// The chain of the destinations that a rule allows by name.
#[must_use]
pub fn named_chain(scope: &ScopeId, rule: &Rule) -> String {
    of_rule("named", scope, rule)
}

/// The set of the addresses that answers granted to the names of a rule, while the answers are valid.
#[must_use]
pub fn granted_set(scope: &ScopeId, rule: &Rule, family: Family) -> String {
    format!("{}_{}", of_rule(GRANTED, scope, rule), family.digit())
}

/// The set of the destinations of connections that were opened to such an address.
#[must_use]
pub fn kept_set(scope: &ScopeId, rule: &Rule, family: Family) -> String {
    format!("{}_{}", of_rule(KEPT, scope, rule), family.digit())
}

/// The set of the sources that a limit counts. Policies with the same number share it, because a source has one policy at a time;
/// what a pod used stays known when its policy chooses another exit.
#[must_use]
pub fn limit_set(measure: LimitMeasure, most: u64, family: Family) -> String {
    format!("limit_{}_{most}_{}", measure.word(), family.digit())
}

/// The set of the connections that a scope keeps. The hash is long, because a tenant chooses the names of policies.
#[must_use]
pub fn flows_set(scope: &ScopeId) -> String {
    let digest = Sha256::digest(scope.as_str().as_bytes());
    format!("flows_{}_{}", plain(scope.as_str()), hex(&digest[..12]))
}

/// What the names of chains and counters begin with that count what a rule of a policy would refuse.
pub const OBSERVED: &str = "observed";

/// The chain, and the counter, of what a rule of a scope would refuse, where the policy only observes; none: its default action.
/// It changes with what the rule names, so that a count is about one meaning.
#[must_use]
pub fn observed(scope: &ScopeId, rule: Option<&Rule>) -> String {
    of_parts(OBSERVED, scope, meaning_of(scope, rule))
}

/// The scope, and what the rule names: its destinations, ports and names.
fn meaning_of(scope: &ScopeId, rule: Option<&Rule>) -> Vec<String> {
    let mut parts = vec![scope.to_string()];
    if let Some(rule) = rule {
        parts.push(rule.name.clone());
        parts.extend(named_parts(&rule.to, &rule.ports));
        parts.extend(rule.names.iter().map(ToString::to_string));
    }
    parts
}

/// What the names of chains begin with that record decisions.
pub const RECORDED: &str = "record";

/// The chain that records what a ground of a scope decides, and the name under which it does. It changes with what the rule names,
/// so that a record is about one meaning.
#[must_use]
pub fn recorded(scope: &ScopeId, ground: &str, rule: Option<&Rule>) -> String {
    let mut parts = vec![ground.to_owned()];
    parts.extend(meaning_of(scope, rule));
    of_parts(RECORDED, scope, parts)
}

fn named_parts(to: &[Prefix], ports: &[RulePortRange]) -> impl Iterator<Item = String> {
    let port = |range: &RulePortRange| format!("{} {} {}", range.protocol, range.from, range.to);
    to.iter()
        .map(ToString::to_string)
        .chain(ports.iter().map(port))
}

/// What the names of chains and counters begin with that count what a rule of an administrator refuses.
pub const DENIED: &str = "denied";

/// The chain, and the counter, of what a rule of an administrator refuses to a scope. It changes with what the rule names, so that a
/// count is about one meaning.
#[must_use]
pub fn denied(scope: &ScopeId, policy: &AdminPolicy, rule: &AdminRule) -> String {
    let parts = [scope.to_string(), policy.name.clone(), rule.name.clone()];
    let parts = parts.into_iter().chain(named_parts(&rule.to, &rule.ports));
    of_parts(DENIED, scope, parts)
}

/// The chain of the rules of administrators for a scope.
#[must_use]
pub fn admin_chain(scope: &ScopeId) -> String {
    readable("admin", scope.as_str())
}

/// The chain of what an administrator allows a scope and no rule names as private.
#[must_use]
pub fn admin_public_chain(scope: &ScopeId) -> String {
    readable("admin_public", scope.as_str())
}

/// The chain of the private ranges that an administrator names in a rule that allows.
#[must_use]
pub fn admin_private_chain(scope: &ScopeId) -> String {
    readable("admin_private", scope.as_str())
}

/// The chain of a scope in the guard.
#[must_use]
pub fn scope_chain(scope: &ScopeId) -> String {
    readable("pol", scope.as_str())
}

/// The chain that ends a scope: the one way out.
#[must_use]
pub fn way_chain(scope: &ScopeId) -> String {
    readable("way", scope.as_str())
}

/// The chain of what a scope may send anywhere but to private ranges.
#[must_use]
pub fn public_chain(scope: &ScopeId) -> String {
    readable("public", scope.as_str())
}

/// The chain of a scope before SNAT.
#[must_use]
pub fn last_chain(scope: &ScopeId) -> String {
    readable("last", scope.as_str())
}

/// The chain that gives an exit's mark.
#[must_use]
pub fn mark_chain(exit: &ExitName) -> String {
    readable("to", exit.as_str())
}

/// The chain of what an exit offers.
#[must_use]
pub fn offered_chain(exit: &ExitName) -> String {
    readable("offered", exit.as_str())
}

/// The chain of what clients send through an exit that this node serves.
#[must_use]
pub fn serve_chain(exit: &ExitName) -> String {
    readable("serve", exit.as_str())
}

/// The set of local pods that leave by an exit that this node serves.
#[must_use]
pub fn local_exit_set(exit: &ExitName, family: Family) -> String {
    format!(
        "{}_{}",
        readable("local_exit", exit.as_str()),
        family.digit()
    )
}

/// A set or map with one half a family.
#[must_use]
pub fn halved(name: &str, family: Family) -> String {
    format!("{name}{}", family.digit())
}
