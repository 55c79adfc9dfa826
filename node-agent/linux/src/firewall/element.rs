//! Elements of sets and maps from nft's JSON, in the plan's normal form.

use ipnet::IpNet;
use postern_intent::{Address, Prefix};
use postern_plan::host::{Family, MacAddress};
use postern_plan::ruleset::{Atom, Data, Element, Target};
use serde_json::Value;

/// Types of a key's parts: nft gives one word, or a list for a concatenation. From 1.1.2 on it gives the expressions of a set
/// that was declared with `typeof`.
pub(super) fn key_types(value: Option<&Value>) -> Vec<String> {
    if let Some(expression) = value.and_then(|value| value.get("typeof")) {
        let parts = match expression.get("concat").and_then(Value::as_array) {
            Some(parts) => parts.as_slice(),
            None => std::slice::from_ref(expression),
        };
        return parts.iter().map(|part| type_of(part).to_owned()).collect();
    }
    match value {
        Some(Value::String(word)) => vec![word.clone()],
        Some(Value::Array(words)) => words
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// The type of an expression that the agent uses in a declaration; the empty word for any other expression.
fn type_of(expression: &Value) -> &'static str {
    let text = |at| expression.pointer(at).and_then(Value::as_str);
    let payload = (text("/payload/protocol"), text("/payload/field"));
    match (text("/meta/key"), payload, text("/payload/base")) {
        (Some("iifname"), ..) => "ifname",
        (_, (Some("ether"), Some("saddr")), _) => "ether_addr",
        (.., Some("th")) => "integer",
        _ => "",
    }
}

/// One element. A pair is a key and its data: it is only in maps that nft prints an element as an array.
pub(super) fn element(types: &[String], value: &Value) -> Element {
    match value.as_array().map(Vec::as_slice) {
        Some([left, right]) => Element {
            key: key(types, left),
            data: Some(data(right)),
        },
        _ => Element {
            key: key(types, value),
            data: None,
        },
    }
}

fn key(types: &[String], value: &Value) -> Vec<Atom> {
    // With a timeout, a comment or a counter the key is inside: `{"elem": {"val": ..., "timeout": 30, "expires": 29}}`.
    if let Some(inner) = value.pointer("/elem/val") {
        return key(types, inner);
    }
    let parts = match value.get("concat").and_then(Value::as_array) {
        Some(parts) => parts.as_slice(),
        None => std::slice::from_ref(value),
    };
    let kinds = types
        .iter()
        .map(String::as_str)
        .chain(std::iter::repeat(""));
    parts
        .iter()
        .zip(kinds)
        .map(|(part, kind)| atom(kind, part).unwrap_or_else(|| unknown(part)))
        .collect()
}

/// What has no normal form: no atom of ours is a name with this text.
fn unknown(value: &Value) -> Atom {
    Atom::Name(value.to_string())
}

fn atom(kind: &str, value: &Value) -> Option<Atom> {
    match kind {
        "ipv4_addr" | "ipv6_addr" => address_atom(value),
        "ifname" => Some(Atom::Name(value.as_str()?.to_owned())),
        "ether_addr" => Some(Atom::Mac(
            MacAddress::try_from(value.as_str()?.to_owned()).ok()?,
        )),
        "inet_proto" => Some(Atom::Protocol(protocol(value)?)),
        "inet_service" => Some(Atom::Port(u16::try_from(value.as_u64()?).ok()?)),
        "nf_proto" => match value.as_str()? {
            "ipv4" => Some(Atom::Family(Family::V4)),
            "ipv6" => Some(Atom::Family(Family::V6)),
            _ => None,
        },
        "integer" => Some(Atom::Number(number(value)?)),
        _ => None,
    }
}

fn address_atom(value: &Value) -> Option<Atom> {
    if let Some(text) = value.as_str() {
        return Some(Atom::Address(text.parse().ok()?));
    }
    if let Some(prefix) = value.get("prefix") {
        let address: Address = prefix.get("addr")?.as_str()?.parse().ok()?;
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return Some(Atom::prefix(Prefix::from(
            IpNet::new(address, length).ok()?,
        )));
    }
    match value.get("range")?.as_array()?.as_slice() {
        [from, to] => Some(Atom::Range(
            from.as_str()?.parse().ok()?,
            to.as_str()?.parse().ok()?,
        )),
        _ => None,
    }
}

/// A protocol by name where nft knows one, else its number.
fn protocol(value: &Value) -> Option<String> {
    value
        .as_str()
        .map(str::to_owned)
        .or_else(|| Some(value.as_u64()?.to_string()))
}

/// nft gives a number up to 64 bits as one and a longer one as text: `"0xfd000000000000000000000000000001"`.
fn number(value: &Value) -> Option<u128> {
    match value {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::String(text) => u128::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        _ => None,
    }
}

fn data(value: &Value) -> Data {
    if let Some(address) = value.as_str().and_then(|text| text.parse().ok()) {
        return Data::Address(address);
    }
    Data::Verdict(verdict(value).unwrap_or_else(|| Target::Jump(value.to_string())))
}

fn verdict(value: &Value) -> Option<Target> {
    let (word, inner) = value.as_object()?.iter().next()?;
    let chain = || {
        inner
            .get("target")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    match word.as_str() {
        "accept" => Some(Target::Accept),
        "drop" => Some(Target::Drop),
        "return" => Some(Target::Return),
        "continue" => Some(Target::Continue),
        "goto" => chain().map(Target::Goto),
        "jump" => chain().map(Target::Jump),
        _ => None,
    }
}
