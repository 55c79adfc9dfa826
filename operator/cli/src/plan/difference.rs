//! What two lists of objects have apart.

use std::collections::BTreeMap;

use serde::Serialize;

use super::objects::{Lines, PlanObjects, Section};

/// What becomes of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ObjectChange {
    Added,
    Removed,
    /// Lines of it differ.
    Changed,
}

/// How one object differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDifference {
    pub object: String,
    /// What becomes of it.
    pub change: ObjectChange,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
}

/// Compares the objects of two bodies, section by section.
#[must_use]
pub fn difference(
    old: &PlanObjects,
    new: &PlanObjects,
) -> BTreeMap<Section, Vec<ObjectDifference>> {
    let mut found: BTreeMap<Section, Vec<ObjectDifference>> = BTreeMap::new();
    let gone = old.keys().filter(|key| !new.contains_key(key));
    for key in new.keys().chain(gone) {
        let (change, removed, added) = match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(old), Some(new)) => {
                let (removed, added) = apart(old, new);
                (ObjectChange::Changed, removed, added)
            }
            (None, Some(new)) => (ObjectChange::Added, Vec::new(), all(new)),
            (old, None) => (
                ObjectChange::Removed,
                old.map(all).unwrap_or_default(),
                Vec::new(),
            ),
        };
        let (section, object) = key.clone();
        found.entry(section).or_default().push(ObjectDifference {
            object,
            change,
            removed,
            added,
        });
    }
    found
}

fn all(lines: &Lines) -> Vec<String> {
    match lines {
        Lines::InOrder(lines) => lines.clone(),
        Lines::Any(lines) => lines.iter().cloned().collect(),
    }
}

fn apart(old: &Lines, new: &Lines) -> (Vec<String>, Vec<String>) {
    match (old, new) {
        (Lines::Any(old), Lines::Any(new)) => (
            old.difference(new).cloned().collect(),
            new.difference(old).cloned().collect(),
        ),
        _ => in_order(&all(old), &all(new)),
    }
}

/// Where the order counts, everything between the first and the last line that differ is shown, in its order.
fn in_order(old: &[String], new: &[String]) -> (Vec<String>, Vec<String>) {
    let same = |(old, new): &(&String, &String)| old == new;
    let start = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[start..], &new[start..]);
    let end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(same)
        .count();
    (
        old[..old.len() - end].to_vec(),
        new[..new.len() - end].to_vec(),
    )
}

#[cfg(test)]
mod tests {
    use super::in_order;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn only_what_lies_between_the_first_and_the_last_difference_is_shown() {
        let (removed, added) = in_order(&lines("a b c d"), &lines("a c b d"));
        assert_eq!((removed, added), (lines("b c"), lines("c b")));
    }

    #[test]
    fn a_line_that_repeats_is_not_counted_twice() {
        let (removed, added) = in_order(&lines("a a"), &lines("a a a"));
        assert_eq!((removed, added), (Vec::new(), lines("a")));
    }
}
