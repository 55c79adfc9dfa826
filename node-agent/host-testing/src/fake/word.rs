//! The words of nft's language: what a rule mentions, and elements of sets.

use ipnet::IpNet;
use postern_intent::{Address, Prefix};
use postern_plan::host::{Family, MacAddress};
use postern_plan::ruleset::{Atom, Data, Element, Target};

/// Does the rule have `key name` in it?
pub(super) fn mentions(rule: &str, key: &str, name: &str) -> bool {
    following(rule, key).any(|found| found == name)
}

/// Does the rule look into the set?
pub(super) fn mentions_set(rule: &str, name: &str) -> bool {
    sets(rule).any(|found| found == name)
}

fn following<'a>(rule: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    rule.split(' ')
        .zip(rule.split(' ').skip(1))
        .filter(move |(word, _)| *word == key)
        .map(|(_, next)| next)
}

/// Chains that the rule leads to.
pub(super) fn chains(rule: &str) -> impl Iterator<Item = &str> {
    following(rule, "goto").chain(following(rule, "jump"))
}

/// Sets and maps that the rule looks into; `@th,64,128` is none.
pub(super) fn sets(rule: &str) -> impl Iterator<Item = &str> {
    rule.split(' ')
        .filter_map(|word| word.strip_prefix('@'))
        .filter(|name| !name.contains(','))
}

/// Counters that the rule counts with.
pub(super) fn counters(rule: &str) -> impl Iterator<Item = &str> {
    following(rule, "name")
}

/// The type of a key's part, given by itself or by an expression.
pub(super) fn key_type(text: &str) -> &str {
    match text {
        "iifname" => "ifname",
        "ether saddr" => "ether_addr",
        other => other,
    }
}

/// `10.244.1.7 : goto pol_eu`, `"veth7" . 0a:58:0a:f4:01:07 . 10.244.1.7`, `ipv4 timeout 60s`.
pub(super) fn element(types: &[String], text: &str) -> Option<Element> {
    let (key, data) = match text.split_once(" : ") {
        Some((key, data)) => (key, Some(self::data(data)?)),
        None => (text, None),
    };
    let key = key.split_once(" timeout ").map_or(key, |(key, _)| key);
    let parts: Vec<&str> = key.split(" . ").collect();
    let atoms = parts
        .iter()
        .zip(types)
        .map(|(part, kind)| atom(kind, part.trim()))
        .collect::<Option<Vec<_>>>()?;
    (parts.len() == types.len()).then_some(Element { key: atoms, data })
}

fn atom(kind: &str, text: &str) -> Option<Atom> {
    match kind {
        "ipv4_addr" | "ipv6_addr" => address(text),
        "ifname" => Some(Atom::Name(text.trim_matches('"').to_owned())),
        "ether_addr" => MacAddress::try_from(text.to_owned()).ok().map(Atom::Mac),
        "inet_proto" => Some(Atom::Protocol(text.to_owned())),
        "inet_service" => text.parse().ok().map(Atom::Port),
        "nf_proto" => match text {
            "ipv4" => Some(Atom::Family(Family::V4)),
            "ipv6" => Some(Atom::Family(Family::V6)),
            _ => None,
        },
        "@th,64,128" => u128::from_str_radix(text.strip_prefix("0x")?, 16)
            .ok()
            .map(Atom::Number),
        _ => None,
    }
}

fn address(text: &str) -> Option<Atom> {
    if text.contains('/') {
        return text
            .parse::<IpNet>()
            .ok()
            .map(|net| Atom::prefix(Prefix::from(net)));
    }
    match text.split_once('-') {
        Some((from, to)) => Some(Atom::Range(from.parse().ok()?, to.parse().ok()?)),
        None => text.parse::<Address>().ok().map(Atom::Address),
    }
}

fn data(text: &str) -> Option<Data> {
    let verdict = match text.split_once(' ') {
        Some(("goto", chain)) => Target::Goto(chain.to_owned()),
        Some(("jump", chain)) => Target::Jump(chain.to_owned()),
        _ => match text {
            "accept" => Target::Accept,
            "drop" => Target::Drop,
            "return" => Target::Return,
            "continue" => Target::Continue,
            address => return address.parse().ok().map(Data::Address),
        },
    };
    Some(Data::Verdict(verdict))
}
