//! Schemas of names, durations, keys and counts.

use postern_intent::BASELINE;
use postern_intent::body::TermsLimits;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::node_report::GUARDED_LISTED;

/// DNS label (RFC 1123), the form of a namespace's name.
const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// DNS subdomain (RFC 1123), the form of most object names.
const SUBDOMAIN_PATTERN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Linux takes 15 bytes, refuses `/` and white space, and `.` and `..` (`dev_valid_name` in
/// net/core/dev.c); nft and sysctl paths ask for less, so only these characters are taken.
const INTERFACE_PATTERN: &str = "^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$";

/// An interface name, in which `*` stands for any run of characters.
const INTERFACE_GLOB_PATTERN: &str = r"^[a-zA-Z0-9_*][a-zA-Z0-9_.*-]*$";

/// Go's `time.ParseDuration` without sign and without units below a millisecond.
const DURATION_PATTERN: &str = r"^([0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$";

/// Base64 of exactly 32 bytes: 43 characters, of which the last carries four bits, and the padding.
const KEY_PATTERN: &str = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$";

fn subdomain_value() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN_PATTERN})
}

fn interface_glob_value() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 15, "pattern": INTERFACE_GLOB_PATTERN})
}

fn preferred_value() -> Value {
    let mut value = interface_glob_value();
    value["x-kubernetes-validations"] = json!([{
        "rule": "self != 'lo'",
        "message": "lo reaches nothing but its own node; name interfaces that carry traffic off the node, such as eth0 or wlan*"
    }]);
    value
}

/// Name of a cluster-scoped object or a Secret (RFC 1123 subdomain).
#[must_use]
pub fn object_name(_: &mut SchemaGenerator) -> Schema {
    Schema::try_from(subdomain_value()).unwrap_or_default()
}

/// Name of an EgressPolicy, or `tier:baseline`.
#[must_use]
pub fn policy_name(_: &mut SchemaGenerator) -> Schema {
    let mut value = subdomain_value();
    value["pattern"] = json!(format!("{SUBDOMAIN_PATTERN}|^{BASELINE}$"));
    Schema::try_from(value).unwrap_or_default()
}

/// Name of a namespace, or of something that a user names (RFC 1123 label).
#[must_use]
pub fn label_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL_PATTERN})
}

/// Names of the guarded namespaces that a body carried: up to 1024.
#[must_use]
pub fn namespace_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": GUARDED_LISTED,
        "items": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL_PATTERN},
    })
}

/// UID that the API server gave to an object, or a static pod's hash.
#[must_use]
pub fn uid(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9-]+$"})
}

/// Name of a network interface.
#[must_use]
pub fn interface(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 15, "pattern": INTERFACE_PATTERN})
}

/// Name of an interface that carries a node's traffic off the node. Links of pods are those that the agents take for such by
/// default (`--pod-links`).
#[must_use]
pub fn uplink(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 15,
        "pattern": INTERFACE_PATTERN,
        "x-kubernetes-validations": [{
            "rule": "!self.matches('^(lo$|cni0$|cbr0$|cali|lxc|veth|pst-)')",
            "message": "must be an uplink of the gateway, such as eth0; the loopback, links of pods and tunnels of Postern lead to no outside"
        }]
    })
}

/// Names of interfaces: up to 32.
#[must_use]
pub fn interfaces(_: &mut SchemaGenerator) -> Schema {
    let name = json!({"type": "string", "minLength": 1, "maxLength": 15});
    json_schema!({"type": "array", "maxItems": 32, "items": name})
}

/// Interfaces in order of preference, as names or globs: 1 to 32.
#[must_use]
pub fn preferred_interfaces(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 32,
        "items": preferred_value(),
    })
}

/// Interfaces that are left alone, as names or globs: up to 64.
#[must_use]
pub fn excluded_interfaces(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 64, "items": interface_glob_value()})
}

/// A duration above zero, such as `500ms`, `30s` or `1h30m`.
#[must_use]
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    duration_with(
        "duration(self) > duration('0s')",
        "must be longer than zero; write a duration such as 500ms or 30s, or leave the field out",
    )
}

/// The time between two probes: from `10ms`, below which a busy node misses its own pace, to `60s`.
#[must_use]
pub fn probe_interval(_: &mut SchemaGenerator) -> Schema {
    duration_with(
        "duration(self) >= duration('10ms') && duration(self) <= duration('60s')",
        "must be between 10ms and 60s; write a duration such as 100ms, or leave the field out",
    )
}

fn duration_with(rule: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 32,
        "pattern": DURATION_PATTERN,
        "x-kubernetes-validations": [{"rule": rule, "message": message}]
    })
}

/// A name that DNS answers, or `*.` and a name for everything below it, as people write it: in letters of either case, as
/// U-labels or A-labels, with or without the dot at its end. The compiler brings it into its one normal form.
#[must_use]
pub fn fqdn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 254,
        "pattern": r"^(\*\.)?([\p{L}\p{M}\p{N}_]([-\p{L}\p{M}\p{N}_]{0,61}[\p{L}\p{M}\p{N}_])?\.)+[\p{L}]([-\p{L}\p{M}\p{N}]{0,61}[\p{L}\p{M}\p{N}])?\.?$",
    })
}

/// `host:port` of an external server: a name, an IPv4 address or an IPv6 address in brackets.
#[must_use]
pub fn endpoint(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 3,
        "maxLength": 261,
        "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
    })
}

/// `address:port` that a probe connects to; an address, because a probe must not wait for DNS.
#[must_use]
pub fn probe_target(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 3,
        "maxLength": 53,
        "pattern": r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
    })
}

/// A WireGuard (X25519) public key in base64.
#[must_use]
pub fn public_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 44, "maxLength": 44, "pattern": KEY_PATTERN})
}

/// Bytes per second: a number, or a quantity such as `500k` or `10Mi`, up to the 16Gi that a kernel can count.
#[must_use]
pub fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maximum": TermsLimits::MOST_BYTES,
        "maxLength": 20,
        "pattern": "^([1-9][0-9]{0,9}|[1-9][0-9]{0,6}(k|Ki)|[1-9][0-9]{0,3}(M|Mi)|([1-9]|1[0-6])(G|Gi))$",
        "x-kubernetes-validations": [{
            "rule": "string(self).matches('^[1-9]')",
            "message": "must be above zero; write bytes per second such as 1048576 or 10Mi, or leave the field out"
        }]
    })
}

/// `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn digest(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 71, "pattern": "^(sha256:)?[0-9a-f]{64}$"})
}

/// The digest of a part of a body.
#[must_use]
pub fn section_digest(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9a-f]{16}$", "maxLength": 16})
}

/// A sentence for people, at most 1024 characters.
#[must_use]
pub fn sentence(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 1024})
}

/// One CamelCase word for programs, as a condition's reason is.
#[must_use]
pub fn reason(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$"})
}

/// A short text that names one thing on a node: an object, a scope, a kernel release.
#[must_use]
pub fn token(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 640})
}

/// Key ids of signing keys: up to 16.
#[must_use]
pub fn key_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {"type": "string", "minLength": 1, "maxLength": 128},
    })
}

/// Counters by name: up to 128.
#[must_use]
pub fn counters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": {"type": "integer", "minimum": 0},
    })
}
