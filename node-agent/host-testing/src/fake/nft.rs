//! The part of nft's language that the planner's printer uses, on tables in memory: `add` and `delete` of table, chain,
//! set, map, counter, element and rule, and `flush` of chain, set and map. One line is one command.

use std::collections::{BTreeMap, BTreeSet};

use postern_plan::observed::{ObservedChain, ObservedFirewall, ObservedRule, ObservedTable};
use postern_plan::ruleset::{Base, BaseKind, Data, Element, Hook, Otherwise, Target};
use serde_json::Value;

use super::word;
use postern_host::error::{Cause, NftRefusal};

/// How sets were declared, by family and name: listings do not contain it, elements need it.
pub(super) type Declarations = BTreeMap<(String, String), Declared>;

#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    /// Types of the key's parts.
    types: Vec<String>,
    timeout: bool,
}

/// Why the kernel or nft refuses a line, in nft's words.
#[derive(Debug, Clone, Copy)]
enum No {
    Entry,
    Busy,
    Exists,
    Moved,
    Syntax,
}

impl No {
    const fn text(self) -> &'static str {
        match self {
            Self::Entry => "Could not process rule: No such file or directory",
            Self::Busy => "Could not process rule: Device or resource busy",
            Self::Exists => "Could not process rule: File exists",
            Self::Moved => "Could not process rule: Operation not supported",
            Self::Syntax => "syntax error",
        }
    }
}

/// Performs a batch; the caller throws its copies away when a line is refused.
pub(super) fn batch(
    firewall: &mut ObservedFirewall,
    declared: &mut Declarations,
    text: &str,
) -> Result<(), Cause> {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        perform(firewall, declared, line.trim()).map_err(|no| {
            Cause::Nft(Box::new(NftRefusal {
                error: no.text().to_owned(),
                line: Some(line.to_owned()),
            }))
        })?;
    }
    Ok(())
}

/// Elements with a timeout go by themselves.
pub(super) fn expire(firewall: &mut ObservedFirewall, declared: &Declarations) {
    for ((family, name), _) in declared.iter().filter(|(_, declared)| declared.timeout) {
        if let Ok(Some(table)) = table_of(firewall, family)
            && let Some(set) = table.sets.get_mut(name)
        {
            set.clear();
        }
    }
}

fn table_of<'a>(
    firewall: &'a mut ObservedFirewall,
    family: &str,
) -> Result<&'a mut Option<ObservedTable>, No> {
    match family {
        "inet" => Ok(&mut firewall.inet),
        "bridge" => Ok(&mut firewall.bridge),
        "arp" => Ok(&mut firewall.arp),
        _ => Err(No::Syntax),
    }
}

fn perform(
    firewall: &mut ObservedFirewall,
    declared: &mut Declarations,
    line: &str,
) -> Result<(), No> {
    let mut words = line.splitn(5, ' ');
    let mut next = || words.next().ok_or(No::Syntax);
    let (verb, noun, family, _table) = (next()?, next()?, next()?, next()?);
    let rest = words.next().unwrap_or_default();
    let slot = table_of(firewall, family)?;
    if noun == "table" {
        return change_table(slot, declared, verb, family);
    }
    let table = slot.as_mut().ok_or(No::Entry)?;
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let place = (family.to_owned(), name.to_owned());
    match (verb, noun) {
        ("add", "counter") => drop(table.counters.entry(name.to_owned()).or_default()),
        ("add", "chain") => add_chain(table, name, rest)?,
        ("add", "set" | "map") => {
            table.sets.entry(name.to_owned()).or_default();
            declared.insert(place, declaration(rest));
        }
        ("add", "rule") => add_rule(table, name, rest)?,
        ("add", "element") => {
            add_elements(table, declared.get(&place).ok_or(No::Entry)?, name, rest)?
        }
        ("delete", "element") => {
            delete_elements(table, declared.get(&place).ok_or(No::Entry)?, name, rest)?
        }
        ("flush", "chain") => table.chains.get_mut(name).ok_or(No::Entry)?.rules.clear(),
        ("flush", "set" | "map") => table.sets.get_mut(name).ok_or(No::Entry)?.clear(),
        ("delete", "chain") => delete_chain(table, name)?,
        ("delete", "set" | "map") => {
            unused(table, |rule| word::mentions_set(rule, name))?;
            table.sets.remove(name).ok_or(No::Entry)?;
            declared.remove(&place);
        }
        ("delete", "counter") => {
            unused(table, |rule| word::mentions(rule, "name", name))?;
            table.counters.remove(name).ok_or(No::Entry)?;
        }
        _ => return Err(No::Syntax),
    }
    Ok(())
}

fn change_table(
    slot: &mut Option<ObservedTable>,
    declared: &mut Declarations,
    verb: &str,
    family: &str,
) -> Result<(), No> {
    match verb {
        "add" => drop(slot.get_or_insert_default()),
        "delete" => {
            slot.take().ok_or(No::Entry)?;
            declared.retain(|(of, _), _| of != family);
        }
        _ => return Err(No::Syntax),
    }
    Ok(())
}

fn text_of(rule: &ObservedRule) -> &str {
    rule.expressions.as_str().unwrap_or_default()
}

fn unused(table: &ObservedTable, mentions: impl Fn(&str) -> bool) -> Result<(), No> {
    let mut rules = table.chains.values().flat_map(|chain| &chain.rules);
    if rules.any(|rule| mentions(text_of(rule))) {
        Err(No::Busy)
    } else {
        Ok(())
    }
}

fn leads_to(rule: &str, chain: &str) -> bool {
    word::mentions(rule, "goto", chain) || word::mentions(rule, "jump", chain)
}

fn delete_chain(table: &mut ObservedTable, name: &str) -> Result<(), No> {
    if !table.chains.contains_key(name) {
        return Err(No::Entry);
    }
    unused(table, |rule| leads_to(rule, name))?;
    let leads = |element: &Element| match &element.data {
        Some(Data::Verdict(Target::Goto(chain) | Target::Jump(chain))) => chain == name,
        _ => false,
    };
    if table.sets.values().flatten().any(leads) {
        return Err(No::Busy);
    }
    table.chains.remove(name);
    Ok(())
}

fn add_chain(table: &mut ObservedTable, name: &str, rest: &str) -> Result<(), No> {
    let base = if rest.is_empty() {
        None
    } else {
        Some(base(rest).ok_or(No::Syntax)?)
    };
    let fresh = || ObservedChain {
        base,
        rules: Vec::new(),
    };
    let there = table.chains.entry(name.to_owned()).or_insert_with(fresh);
    match (&mut there.base, base) {
        (there, wanted) if *there == wanted => {}
        (Some(there), Some(wanted)) if there.stands_like(&wanted) => *there = wanted,
        (Some(_), Some(_)) => return Err(No::Moved),
        _ => return Err(No::Exists),
    }
    Ok(())
}

/// `{ type filter hook forward priority -5; policy accept; }`.
fn base(text: &str) -> Option<Base> {
    let words: Vec<&str> = text
        .split([' ', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    let after = |key: &str| {
        words
            .iter()
            .position(|word| *word == key)
            .and_then(|at| words.get(at + 1))
            .copied()
    };
    let kind = match after("type")? {
        "filter" => BaseKind::Filter,
        "nat" => BaseKind::Nat,
        _ => return None,
    };
    let hook = match after("hook")? {
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        _ => return None,
    };
    Some(Base {
        kind,
        hook,
        priority: after("priority")?.parse().ok()?,
        otherwise: match after("policy")? {
            "accept" => Otherwise::Accept,
            "drop" => Otherwise::Drop,
            _ => return None,
        },
    })
}

fn add_rule(table: &mut ObservedTable, chain: &str, rest: &str) -> Result<(), No> {
    let (text, comment) = match rest.rsplit_once(" comment \"") {
        Some((text, comment)) => (text, Some(comment.trim_end_matches('"').to_owned())),
        None => (rest, None),
    };
    let known = word::chains(text).all(|name| table.chains.contains_key(name))
        && word::sets(text).all(|name| table.sets.contains_key(name))
        && word::counters(text).all(|name| table.counters.contains_key(name));
    let there = table
        .chains
        .get_mut(chain)
        .filter(|_| known)
        .ok_or(No::Entry)?;
    there.rules.push(ObservedRule {
        comment,
        expressions: Value::String(text.to_owned()),
    });
    Ok(())
}

/// `{ type ifname . ipv4_addr : verdict; flags interval; }`, or `typeof` with expressions.
fn declaration(text: &str) -> Declared {
    let inner = text.trim_matches(['{', '}', ' ']);
    let key = inner.split([';', ':']).next().unwrap_or_default();
    let key = key
        .trim_start_matches("typeof ")
        .trim_start_matches("type ")
        .trim();
    let types = key
        .split(" . ")
        .map(|part| word::key_type(part.trim()).to_owned())
        .collect();
    Declared {
        types,
        timeout: inner.contains("flags timeout"),
    }
}

fn elements(declared: &Declared, text: &str) -> Result<Vec<Element>, No> {
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .ok_or(No::Syntax)?;
    let parts = inner
        .split(", ")
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| word::element(&declared.types, part).ok_or(No::Syntax))
        .collect()
}

fn add_elements(
    table: &mut ObservedTable,
    declared: &Declared,
    name: &str,
    text: &str,
) -> Result<(), No> {
    for element in elements(declared, text)? {
        if let Some(Data::Verdict(Target::Goto(chain) | Target::Jump(chain))) = &element.data
            && !table.chains.contains_key(chain)
        {
            return Err(No::Entry);
        }
        let set = table.sets.get_mut(name).ok_or(No::Entry)?;
        if set
            .iter()
            .any(|there| there.key == element.key && there.data != element.data)
        {
            return Err(No::Exists);
        }
        set.insert(element);
    }
    Ok(())
}

fn delete_elements(
    table: &mut ObservedTable,
    declared: &Declared,
    name: &str,
    text: &str,
) -> Result<(), No> {
    let keys: BTreeSet<_> = elements(declared, text)?
        .into_iter()
        .map(|element| element.key)
        .collect();
    let set = table.sets.get_mut(name).ok_or(No::Entry)?;
    let before = set.len();
    set.retain(|there| !keys.contains(&there.key));
    if before - set.len() == keys.len() {
        Ok(())
    } else {
        Err(No::Entry)
    }
}
