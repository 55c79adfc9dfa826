//! What nft's JSON (libnftables-json(5)) says of others: chains, flowtables, owners, forwarding, and marks.

use std::collections::BTreeSet;

use postern_plan::ruleset::model::TABLE;
use serde_json::Value;

/// A base chain of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignChain {
    /// `family table chain`.
    pub place: String,
    /// `prerouting` and so on.
    pub hook: String,
    pub priority: i64,
}

/// What a rule of somebody else's does with the packet's mark.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignMark {
    /// `family table chain`.
    pub place: String,
    /// Bits that the rule may change.
    pub sets: u32,
    /// Bits that the rule decides by.
    pub reads: u32,
}

/// Devices whose packets somebody takes away before the hooks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shortcut {
    /// `family table name`.
    pub place: String,
    pub devices: BTreeSet<String>,
}

/// What others have in nft.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Foreign {
    /// Are our tables there?
    pub own: bool,
    /// Families in which a table of our name belongs to a process (`flags owner`).
    pub owned: BTreeSet<String>,
    /// Base chains of the families that see IP packets or bridged frames.
    pub chains: BTreeSet<ForeignChain>,
    /// Rules that touch the mark.
    pub marks: BTreeSet<ForeignMark>,
    /// Chains with a rule that may keep questions to port 53 out of connection tracking, as `family table chain`.
    pub untracked_questions: BTreeSet<String>,
    /// Flowtables, and `netdev` chains that send packets to another device.
    pub shortcuts: BTreeSet<Shortcut>,
}

impl Foreign {
    /// Reads a listing of the whole ruleset.
    #[must_use]
    pub fn of(listing: &Value) -> Self {
        let mut foreign = Self::default();
        let objects = listing.get("nftables").and_then(Value::as_array);
        let objects: Vec<&Value> = objects.into_iter().flatten().collect();
        for object in &objects {
            foreign.take(object, &objects);
        }
        foreign
    }

    fn take(&mut self, object: &Value, all: &[&Value]) {
        let Some((kind, value)) = object.as_object().and_then(|object| object.iter().next()) else {
            return;
        };
        if kind == "table" && word(value, "name") == TABLE {
            self.own = true;
            if strings(value.get("flags")).contains("owner") {
                self.owned.insert(word(value, "family").to_owned());
            }
        }
        if is_ours(value) {
            return;
        }
        match kind.as_str() {
            "chain" => self.chains.extend(chain(value)),
            "flowtable" => drop(self.shortcuts.insert(Shortcut {
                place: place(value, "name"),
                devices: strings(value.get("dev")),
            })),
            "rule" => self.rule(value, all),
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Value, all: &[&Value]) {
        let expressions = rule.get("expr").unwrap_or(&Value::Null);
        let (mut sets, mut reads) = (0, 0);
        marks(expressions, &mut sets, &mut reads);
        if sets != 0 || reads != 0 {
            self.marks.insert(ForeignMark {
                place: place(rule, "chain"),
                sets,
                reads,
            });
        }
        if may_untrack_questions(rule, all) {
            self.untracked_questions.insert(place(rule, "chain"));
        }
        let sends =
            |statement: &Value| statement.get("fwd").is_some() || statement.get("dup").is_some();
        if word(rule, "family") == "netdev"
            && expressions
                .as_array()
                .is_some_and(|list| list.iter().any(sends))
        {
            let devices = devices_of(rule, all);
            self.shortcuts.insert(Shortcut {
                place: place(rule, "chain"),
                devices,
            });
        }
    }
}

fn is_ours(value: &Value) -> bool {
    let table = value
        .get("table")
        .or_else(|| value.get("name"))
        .and_then(Value::as_str);
    table == Some(TABLE) && matches!(word(value, "family"), "inet" | "bridge" | "arp")
}

fn chain(value: &Value) -> Option<ForeignChain> {
    Some(ForeignChain {
        place: place(value, "name"),
        hook: value.get("hook")?.as_str()?.to_owned(),
        priority: value.get("prio")?.as_i64()?,
    })
}

/// Devices of the chain that a rule stands in.
fn devices_of(rule: &Value, all: &[&Value]) -> BTreeSet<String> {
    strings(chain_of(rule, all).and_then(|chain| chain.get("dev")))
}

/// The chain of a rule.
fn chain_of<'a>(rule: &Value, all: &[&'a Value]) -> Option<&'a Value> {
    let same = |chain: &&Value| {
        ["family", "table"]
            .iter()
            .all(|key| word(chain, key) == word(rule, key))
            && word(chain, "name") == word(rule, "chain")
    };
    all.iter()
        .filter_map(|object| object.get("chain"))
        .find(same)
}

/// Does the rule keep questions to port 53, as far as it can be read, out of connection tracking before the guard sees
/// them? A base chain of another hook than prerouting sees no pod's packet that early. nft's JSON shows of iptables'
/// target `CT` no more than its name: it counts where the rule names port 53, as each rule of NodeLocal DNSCache does,
/// and is taken for a zone where it names no port.
fn may_untrack_questions(rule: &Value, all: &[&Value]) -> bool {
    let hook = chain_of(rule, all).map(|chain| word(chain, "hook"));
    if hook.is_some_and(|hook| !matches!(hook, "" | "prerouting")) {
        return false;
    }
    let statements = rule.get("expr").and_then(Value::as_array);
    let statements = statements.map(Vec::as_slice).unwrap_or_default();
    let ports: Vec<bool> = statements.iter().filter_map(may_be_question).collect();
    if ports.contains(&false) || statements.iter().any(is_about_no_pods_question) {
        return false;
    }
    let by_module = |statement: &Value| {
        let target = statement.get("xt");
        let name = target.map(|target| word(target, "name"));
        name.is_some_and(|name| matches!(name, "CT" | "NOTRACK"))
    };
    statements.iter().any(|one| one.get("notrack").is_some())
        || !ports.is_empty() && statements.iter().any(by_module)
}

/// Where a statement compares the destination port: may the port be 53?
fn may_be_question(statement: &Value) -> Option<bool> {
    let compared = statement.get("match")?;
    let field = compared.get("left")?.get("payload")?;
    if word(field, "field") != "dport" {
        return None;
    }
    let right = compared.get("right")?;
    Some(match word(compared, "op") {
        "!=" => right.as_u64() != Some(DNS),
        _ => may_hold(right, DNS),
    })
}

/// Whether a statement restricts the rule to packets that are no pod's question: those of the loopback device, or of a
/// protocol other than TCP and UDP.
fn is_about_no_pods_question(statement: &Value) -> bool {
    let Some(compared) = statement.get("match").filter(|one| word(one, "op") == "==") else {
        return false;
    };
    let meta = compared.get("left").and_then(|left| left.get("meta"));
    let right = compared.get("right").and_then(Value::as_str);
    match meta.map(|meta| word(meta, "key")) {
        Some("iifname" | "iif") => right == Some("lo"),
        Some("l4proto") => right.is_some_and(|protocol| !matches!(protocol, "tcp" | "udp")),
        _ => false,
    }
}

const DNS: u64 = 53;

/// A port, a range, a set of them; a named set may hold anything.
fn may_hold(value: &Value, port: u64) -> bool {
    let ends = value.get("range").and_then(Value::as_array);
    if let Some([from, to]) = ends.map(Vec::as_slice) {
        let (from, to) = (from.as_u64(), to.as_u64());
        return from.is_none_or(|from| from <= port) && to.is_none_or(|to| port <= to);
    }
    match (value.as_u64(), value.get("set").and_then(Value::as_array)) {
        (Some(number), _) => number == port,
        (None, Some(list)) => list.iter().any(|one| may_hold(one, port)),
        (None, None) => true,
    }
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// nft lists one device or flag as a string and more as a list.
fn strings(value: Option<&Value>) -> BTreeSet<String> {
    match value {
        Some(Value::String(one)) => BTreeSet::from([one.clone()]),
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => BTreeSet::new(),
    }
}

fn place(value: &Value, name: &str) -> String {
    let table = word(value, "table");
    format!("{} {table} {}", word(value, "family"), word(value, name))
}

fn is_mark(value: &Value) -> bool {
    value
        .get("meta")
        .is_some_and(|meta| word(meta, "key") == "mark")
}

/// The mark under a constant mask: `{"&": [{"meta": {"key": "mark"}}, 240]}`.
fn masked(value: &Value) -> Option<u32> {
    let sides = value.get("&")?.as_array()?;
    let [left, right] = sides.as_slice() else {
        return None;
    };
    is_mark(left).then(|| number(right)).flatten()
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

/// Collects what expressions do with the mark, however deep they stand.
fn marks(value: &Value, sets: &mut u32, reads: &mut u32) {
    if let Some(mangle) = value.get("mangle")
        && mangle.get("key").is_some_and(is_mark)
    {
        *sets |= mangle.get("value").map_or(u32::MAX, changed);
    } else if let Some(mask) = masked(value) {
        *reads |= mask;
    } else if is_mark(value) {
        *reads = u32::MAX;
    } else if let Some(object) = value.as_object() {
        object.values().for_each(|inner| marks(inner, sets, reads));
    } else if let Some(list) = value.as_array() {
        list.iter().for_each(|inner| marks(inner, sets, reads));
    }
}

/// Bits in which the new mark may differ from the old one: `mark & a` those outside `a`, `mark | b` and `mark ^ b` those
/// of `b`, anything else all of them.
fn changed(value: &Value) -> u32 {
    if is_mark(value) {
        return 0;
    }
    let Some((operator, sides)) = value.as_object().and_then(|object| object.iter().next()) else {
        return u32::MAX;
    };
    let sides = sides.as_array().map(Vec::as_slice).unwrap_or_default();
    match (operator.as_str(), sides) {
        ("&", [left, right]) => changed(left) | number(right).map_or(u32::MAX, |bits| !bits),
        ("|" | "^", [left, right]) => changed(left) | number(right).unwrap_or(u32::MAX),
        _ => u32::MAX,
    }
}
