//! Commands of nft on tables in memory. The kernel rules that it knows are those of the contract suite.

use std::num::NonZeroU64;

use postern_host::error::{HostCause, NftRefusal};
use postern_plan::observed::{
    ObservedChain, ObservedFirewall, ObservedRule, ObservedSet, ObservedTable,
};
use postern_plan::ruleset::{
    Atom, Base, Data, Edit, Element, FirewallRule, NftCommand, Operand, SetType, TableFamily,
    Target,
};
use serde_json::{Value, json};

/// Why the kernel or nft refuses a command, in nft's words.
#[derive(Debug, Clone, Copy)]
enum No {
    Entry,
    Busy,
    Exists,
    Moved,
    Full,
}

impl No {
    const fn text(self) -> &'static str {
        match self {
            Self::Entry => "Could not process rule: No such file or directory",
            Self::Busy => "Could not process rule: Device or resource busy",
            Self::Exists => "Could not process rule: File exists",
            Self::Full => "Could not process rule: Too many open files in system",
            Self::Moved => "Could not process rule: Operation not supported",
        }
    }
}

/// Performs a batch; the caller throws its copy away when a command is refused.
pub(super) fn perform(firewall: &mut ObservedFirewall, edits: &[Edit]) -> Result<(), HostCause> {
    for edit in edits {
        perform_one(firewall, edit).map_err(|no| {
            HostCause::Nft(Box::new(NftRefusal {
                error: no.text().to_owned(),
                line: edit.to_string().lines().next().map(str::to_owned),
            }))
        })?;
    }
    Ok(())
}

/// The kernel deletes elements that have a timeout.
pub(super) fn expire(firewall: &mut ObservedFirewall) {
    let tables = [&mut firewall.inet, &mut firewall.bridge, &mut firewall.arp];
    for set in tables
        .into_iter()
        .flatten()
        .flat_map(|table| table.sets.values_mut())
    {
        if set
            .set_type
            .as_ref()
            .is_some_and(SetType::changes_by_itself)
        {
            set.elements.clear();
            set.expires.clear();
        }
    }
}

fn perform_one(firewall: &mut ObservedFirewall, edit: &Edit) -> Result<(), No> {
    let slot = match edit.family {
        TableFamily::Inet => &mut firewall.inet,
        TableFamily::Bridge => &mut firewall.bridge,
        TableFamily::Arp => &mut firewall.arp,
    };
    let table = match &edit.command {
        NftCommand::AddTable => {
            slot.get_or_insert_default();
            return Ok(());
        }
        NftCommand::DeleteTable => return slot.take().map(drop).ok_or(No::Entry),
        _ => slot.as_mut().ok_or(No::Entry)?,
    };
    match &edit.command {
        NftCommand::AddTable | NftCommand::DeleteTable => {}
        NftCommand::AddCounter { name } => {
            table.counters.entry(name.clone()).or_default();
        }
        NftCommand::DeleteCounter { name } => {
            unused(table, "counters", name)?;
            table.counters.remove(name).ok_or(No::Entry)?;
        }
        NftCommand::AddSet { name, set_type } => add_set(table, name, set_type)?,
        NftCommand::FlushSet { name, .. } => set_of(table, name)?.elements.clear(),
        NftCommand::DeleteSet { name } => {
            unused(table, "sets", name)?;
            table.sets.remove(name).ok_or(No::Entry)?;
        }
        NftCommand::AddChain { name, base } => add_chain(table, name, *base)?,
        NftCommand::FlushChain { name } => chain_of(table, name)?.rules.clear(),
        NftCommand::DeleteChain { name } => delete_chain(table, name)?,
        NftCommand::AddRule { chain, rule } => add_rule(table, chain, rule)?,
        NftCommand::AddElements {
            set,
            elements,
            timeout,
            ..
        } => {
            add_elements(table, set, elements)?;
            let set = set_of(table, set)?;
            for element in timeout.iter().flat_map(|_| elements) {
                let seconds = timeout.map_or(0, NonZeroU64::get);
                set.expires.entry(element.key.clone()).or_insert(seconds);
            }
        }
        NftCommand::DeleteElements { set, keys } => delete_elements(table, set, keys)?,
    }
    Ok(())
}

fn set_of<'a>(table: &'a mut ObservedTable, name: &str) -> Result<&'a mut ObservedSet, No> {
    table.sets.get_mut(name).ok_or(No::Entry)
}

fn chain_of<'a>(table: &'a mut ObservedTable, name: &str) -> Result<&'a mut ObservedChain, No> {
    table.chains.get_mut(name).ok_or(No::Entry)
}

/// Refuses to delete an object that a rule refers to. [`listed`] puts the names that a rule refers to into its listing.
fn unused(table: &ObservedTable, kind: &str, name: &str) -> Result<(), No> {
    let mut rules = table.chains.values().flat_map(|chain| &chain.rules);
    let refers = |rule: &ObservedRule| {
        let names = rule.expressions.get(kind).and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|there| there == name))
    };
    if rules.any(refers) {
        Err(No::Busy)
    } else {
        Ok(())
    }
}

fn add_set(table: &mut ObservedTable, name: &str, set_type: &SetType) -> Result<(), No> {
    let fresh = || ObservedSet {
        set_type: Some(set_type.clone()),
        ..ObservedSet::default()
    };
    let there = table.sets.entry(name.to_owned()).or_insert_with(fresh);
    match there.set_type.as_ref() == Some(set_type) {
        true => Ok(()),
        false => Err(No::Exists),
    }
}

fn delete_chain(table: &mut ObservedTable, name: &str) -> Result<(), No> {
    chain_of(table, name)?;
    unused(table, "chains", name)?;
    let mut elements = table.sets.values().flat_map(|set| &set.elements);
    if elements.any(|element| leads_to(element) == Some(name)) {
        return Err(No::Busy);
    }
    table.chains.remove(name);
    Ok(())
}

fn leads_to(element: &Element) -> Option<&str> {
    match &element.data {
        Some(Data::Verdict(Target::Goto(chain) | Target::Jump(chain))) => Some(chain),
        _ => None,
    }
}

fn add_chain(table: &mut ObservedTable, name: &str, base: Option<Base>) -> Result<(), No> {
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

fn add_rule(table: &mut ObservedTable, chain: &str, rule: &FirewallRule) -> Result<(), No> {
    let known = chains(rule).all(|name| table.chains.contains_key(name))
        && sets(rule).all(|name| table.sets.contains_key(name))
        && counters(rule).all(|name| table.counters.contains_key(name));
    if !known {
        return Err(No::Entry);
    }
    chain_of(table, chain)?.rules.push(ObservedRule {
        comment: Some(rule.identity()),
        expressions: listed(rule),
    });
    Ok(())
}

/// nft's listing is another one; the plan only compares it with an earlier one.
fn listed(rule: &FirewallRule) -> Value {
    json!({
        "text": rule.to_string(),
        "chains": chains(rule).collect::<Vec<_>>(),
        "sets": sets(rule).collect::<Vec<_>>(),
        "counters": counters(rule).collect::<Vec<_>>(),
    })
}

fn chains(rule: &FirewallRule) -> impl Iterator<Item = &str> {
    match &rule.target {
        Target::Goto(chain) | Target::Jump(chain) => Some(chain.as_str()),
        _ => None,
    }
    .into_iter()
}

fn sets(rule: &FirewallRule) -> impl Iterator<Item = &str> {
    let map = match &rule.target {
        Target::SaddrMap(_, map) | Target::Keep(_, map) | Target::KeepFlow(map, _) => {
            Some(map.as_str())
        }
        _ => None,
    };
    let matched = rule.matches.iter().filter_map(|one| match &one.operand {
        Operand::In(set) | Operand::NotIn(set) => Some(set.as_str()),
        Operand::Is(_) | Operand::Not(_) | Operand::Alone => None,
    });
    matched.chain(map)
}

fn counters(rule: &FirewallRule) -> impl Iterator<Item = &str> {
    let counted = match &rule.target {
        Target::Count(counter) => Some(counter.as_str()),
        _ => None,
    };
    let own = rule.counter.iter().map(|counter| counter.0);
    own.chain(counted)
}

fn add_elements(table: &mut ObservedTable, name: &str, elements: &[Element]) -> Result<(), No> {
    for element in elements {
        if leads_to(element).is_some_and(|chain| !table.chains.contains_key(chain)) {
            return Err(No::Entry);
        }
        let set = set_of(table, name)?;
        let mut there = set.elements.iter();
        if there.any(|there| there.key == element.key && there.data != element.data) {
            return Err(No::Exists);
        }
        let room = set.set_type.as_ref().and_then(|set_type| set_type.size);
        let is_full = room.is_some_and(|room| set.elements.len() >= room as usize);
        if is_full && !set.elements.contains(element) {
            return Err(No::Full);
        }
        set.elements.insert(element.clone());
    }
    Ok(())
}

fn delete_elements(table: &mut ObservedTable, name: &str, keys: &[Vec<Atom>]) -> Result<(), No> {
    let set = set_of(table, name)?;
    set.expires.retain(|key, _| !keys.contains(key));
    let elements = &mut set.elements;
    let before = elements.len();
    elements.retain(|there| !keys.contains(&there.key));
    match before - elements.len() == keys.len() {
        true => Ok(()),
        false => Err(No::Entry),
    }
}
