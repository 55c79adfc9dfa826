//! Schemas of addresses, prefixes and what stands for them.

use postern_intent::special_use::{EMBEDDINGS, SPECIAL4, SPECIAL6};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Longest text of an IP address: eight groups of four digits with an IPv4 tail.
const IP_LENGTH: u32 = 45;

/// Longest text of a prefix: an address, a slash and three digits.
const CIDR_LENGTH: u32 = 49;

fn cidr_value() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": CIDR_LENGTH,
        "x-kubernetes-validations": [
            {
                "rule": "isCIDR(self)",
                "message": "must be a prefix such as 198.51.100.0/24 or 2001:db8::/32; write a single address as 198.51.100.7/32"
            },
            {
                "rule": "!isCIDR(self) || cidr(self) == cidr(self).masked()",
                "message": "must have no host bits set; write the network address, 198.51.100.0/24 instead of 198.51.100.7/24"
            }
        ]
    })
}

/// A prefix that no special-use range holds needs no exception, and would say nothing.
fn in_special_range() -> Value {
    let ranges = SPECIAL4.iter().chain(&SPECIAL6).chain(&EMBEDDINGS);
    // CEL knows no prefix of IPv4-mapped addresses, and refuses an exception of that form for its form.
    let written = ranges.filter(|range| !range.starts_with("::ffff:"));
    let quoted: Vec<String> = written.map(|range| format!("'{range}'")).collect();
    json!({
        "rule": format!(
            "!isCIDR(self) || [{}].exists(r, cidr(r).containsCIDR(self))",
            quoted.join(", ")
        ),
        "message": "must lie in a special-use range, such as 169.254.169.254/32; other destinations are allowed by rules, and private ones by lanAccess"
    })
}

fn interface_address_value() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": CIDR_LENGTH,
        "x-kubernetes-validations": [{
            "rule": "isCIDR(self)",
            "message": "must be an address with its prefix length, such as 10.64.0.2/32 or fc00:bbbb::2/128"
        }]
    })
}

fn ip_value() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": IP_LENGTH,
        "x-kubernetes-validations": [{
            "rule": "isIP(self)",
            "message": "must be an IP address such as 203.0.113.10 or 2001:db8::10, without a prefix length"
        }]
    })
}

fn usable_ip_value() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": IP_LENGTH,
        "x-kubernetes-validations": [
            {
                "rule": "isIP(self)",
                "message": "must be an IP address such as 203.0.113.10 or 2001:db8::10, without a prefix length"
            },
            {
                "rule": "!isIP(self) || ip(self).isGlobalUnicast()",
                "message": "must be an address that others can answer; loopback, link-local, multicast and unspecified addresses cannot leave a node"
            }
        ]
    })
}

fn list(items: &Value, min: u32, max: u32) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": min,
        "maxItems": max,
        "items": items,
    })
}

/// One prefix without host bits, such as `198.51.100.0/24`.
#[must_use]
pub fn cidr(_: &mut SchemaGenerator) -> Schema {
    Schema::try_from(cidr_value()).unwrap_or_default()
}

/// Destination prefixes that an exit offers: 1 to 64.
#[must_use]
pub fn routes(_: &mut SchemaGenerator) -> Schema {
    list(&cidr_value(), 1, 64)
}

/// Exceptions from the special-use ranges: up to 16 prefixes.
#[must_use]
pub fn special_use_exceptions(_: &mut SchemaGenerator) -> Schema {
    let mut item = cidr_value();
    if let Some(rules) = item["x-kubernetes-validations"].as_array_mut() {
        rules.push(in_special_range());
    }
    list(&item, 0, 16)
}

/// Addresses of a tunnel interface with their prefix lengths: 1 to 4.
#[must_use]
pub fn interface_addresses(_: &mut SchemaGenerator) -> Schema {
    list(&interface_address_value(), 1, 4)
}

/// Source addresses of an exit: at most one of each family.
#[must_use]
pub fn egress_ips(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 2,
        "items": usable_ip_value(),
        "x-kubernetes-validations": [{
            "rule": "self.filter(a, isIP(a) && ip(a).family() == 4).size() < 2 && self.filter(a, isIP(a) && ip(a).family() == 6).size() < 2",
            "message": "write at most one IPv4 and one IPv6 address; make another ExitNode for another address"
        }]
    })
}

/// DNS servers: up to 3 addresses, as many as a resolver configuration takes.
#[must_use]
pub fn upstreams(_: &mut SchemaGenerator) -> Schema {
    list(&usable_ip_value(), 0, 3)
}

/// Addresses that a program reports: up to 16, not judged.
#[must_use]
pub fn reported_ips(_: &mut SchemaGenerator) -> Schema {
    list(&ip_value(), 0, 16)
}
