//! nft's JSON listing of one table as a value. Decoded tolerantly: what is not known is kept in a form that compares
//! unequal to everything of ours, so that it is found as a mismatch instead of ending the reading.

use postern_host::error::HostCause;
use postern_plan::observed::{ObservedRule, ObservedSet, ObservedTable};
use postern_plan::ruleset::{
    Base, BaseKind, Hook, KeyType, Otherwise, SetFlag, SetType, ValueType,
};
use serde_json::{Map, Value};

use super::element;

/// The table of a listing; none when it is dormant: it is there and judges nothing, which is as good as away.
pub(super) fn table(listing: &[u8]) -> Result<Option<ObservedTable>, HostCause> {
    let Ok(parsed) = serde_json::from_slice::<Value>(listing) else {
        return if ends_at_flags(listing) {
            Ok(None)
        } else {
            Err(HostCause::Answer {
                what: "nft's listing is no JSON",
            })
        };
    };
    let objects = parsed
        .get("nftables")
        .and_then(Value::as_array)
        .ok_or(HostCause::Answer {
            what: "nft's listing has no list of objects",
        })?;
    let mut out = ObservedTable::default();
    for (kind, body) in objects
        .iter()
        .filter_map(|object| object.as_object()?.iter().next())
    {
        let Some(body) = body.as_object() else {
            continue;
        };
        match kind.as_str() {
            "table" if dormant(body) => return Ok(None),
            "chain" => add_chain(&mut out, body),
            "set" | "map" => add_set(&mut out, body),
            "counter" => add_counter(&mut out, body),
            "rule" => add_rule(&mut out, body),
            _ => {}
        }
    }
    Ok(Some(out))
}

/// nft 1.0.6 breaks off, with exit code 0, when a table has a flag: `nft add table inet postern '{ flags dormant; }'`,
/// then `nft -j list table inet postern` ends with `"flags": `. No flag is ours, and dormant is the usual one.
fn ends_at_flags(listing: &[u8]) -> bool {
    listing.trim_ascii_end().ends_with(b"\"flags\":")
}

fn dormant(table: &Map<String, Value>) -> bool {
    match table.get("flags") {
        Some(Value::Array(flags)) => flags.iter().any(|flag| flag == "dormant"),
        Some(flag) => flag == "dormant",
        None => false,
    }
}

fn text(body: &Map<String, Value>, key: &str) -> String {
    body.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn add_chain(out: &mut ObservedTable, body: &Map<String, Value>) {
    out.chains.entry(text(body, "name")).or_default().base = base(body);
}

fn base(body: &Map<String, Value>) -> Option<Base> {
    let kind = match body.get("type")?.as_str()? {
        "filter" => BaseKind::Filter,
        "nat" => BaseKind::Nat,
        _ => return None,
    };
    let hook = match body.get("hook")?.as_str()? {
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        _ => return None,
    };
    let priority = i32::try_from(body.get("prio")?.as_i64()?).ok()?;
    let otherwise = match body.get("policy")?.as_str()? {
        "accept" => Otherwise::Accept,
        "drop" => Otherwise::Drop,
        _ => return None,
    };
    Some(Base {
        kind,
        hook,
        priority,
        otherwise,
    })
}

fn add_set(out: &mut ObservedTable, body: &Map<String, Value>) {
    let types = element::key_types(body.get("type"));
    let elements = body
        .get("elem")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let decoded = elements.iter();
    let decoded = decoded.map(|value| element::element(&types, value));
    let set = ObservedSet {
        set_type: set_type(&types, body),
        elements: decoded.collect(),
        expires: elements
            .iter()
            .filter_map(|value| {
                let seconds = value.pointer("/elem/expires")?.as_u64()?;
                Some((element::element(&types, value).key, seconds))
            })
            .collect(),
    };
    out.sets.insert(text(body, "name"), set);
}

/// None: this agent does not know the declaration, or never uses it.
fn set_type(types: &[String], body: &Map<String, Value>) -> Option<SetType> {
    let key = types.iter().map(|word| match word.as_str() {
        "ipv4_addr" => Some(KeyType::Ipv4),
        "ipv6_addr" => Some(KeyType::Ipv6),
        "ifname" => Some(KeyType::IfName),
        "ether_addr" => Some(KeyType::Ether),
        "inet_proto" => Some(KeyType::Protocol),
        "inet_service" => Some(KeyType::Port),
        "nf_proto" => Some(KeyType::Family),
        // nft 1.0.6 prints no more than this of `typeof ct id` and `typeof @th,64,128`; only connections come and go.
        "integer" if body.contains_key("size") => Some(KeyType::Connection),
        "integer" => Some(KeyType::NeighbourTarget),
        _ => None,
    });
    let value = match body.get("map") {
        None => None,
        Some(value) => Some(match value.as_str()? {
            "verdict" => ValueType::Verdict,
            "ipv4_addr" => ValueType::Ipv4,
            "ipv6_addr" => ValueType::Ipv6,
            _ => return None,
        }),
    };
    // nft 1.1.4 to 1.1.6 gives a single flag by itself, every other version in a list.
    let flags = match body.get("flags") {
        Some(Value::Array(flags)) => flags.as_slice(),
        Some(flag) => std::slice::from_ref(flag),
        None => &[],
    };
    // nft 1.0.6 does not print that a rule may update the set, and later versions do.
    let flags: Vec<&Value> = flags.iter().filter(|flag| *flag != "dynamic").collect();
    let size = body.get("size").and_then(Value::as_u64);
    let flag = match flags.as_slice() {
        [] => None,
        [flag] => Some(match flag.as_str()? {
            "interval" => SetFlag::Interval,
            "timeout" => SetFlag::Timeout,
            _ => return None,
        }),
        _ => return None,
    };
    let key = key.collect::<Option<_>>()?;
    Some(SetType {
        key,
        value,
        flag,
        size: size.and_then(|size| u32::try_from(size).ok()),
    })
}

fn add_counter(out: &mut ObservedTable, body: &Map<String, Value>) {
    let packets = body
        .get("packets")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    out.counters.insert(text(body, "name"), packets);
}

fn add_rule(out: &mut ObservedTable, body: &Map<String, Value>) {
    let rule = ObservedRule {
        comment: body
            .get("comment")
            .and_then(Value::as_str)
            .map(str::to_owned),
        expressions: still(body.get("expr").unwrap_or(&Value::Null)),
    };
    out.chains
        .entry(text(body, "chain"))
        .or_default()
        .rules
        .push(rule);
}

/// Expressions without what changes by itself: packets and bytes of an anonymous counter, and the order in which the
/// kernel lists an anonymous set, which is another one each time that the rule is written.
fn still(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(still).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, inner)| match (key.as_str(), inner) {
                ("counter", Value::Object(_)) => (key.clone(), Value::Null),
                ("set", Value::Array(items)) => {
                    let mut items: Vec<Value> = items.iter().map(still).collect();
                    items.sort_by_key(Value::to_string);
                    (key.clone(), items.into())
                }
                _ => (key.clone(), still(inner)),
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
