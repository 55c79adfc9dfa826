//! Which file imports which, and the circles among them.

use std::collections::{BTreeMap, BTreeSet};

use crate::Workspace;
use crate::modules::{Module, ModuleTree, UsedPath, used_paths};

/// The imports of a target's files: importing file, imported file, first line of the import.
pub(super) type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// Reads the imports between the files of the target with this root.
pub(super) fn imports<'a>(workspace: &'a Workspace, root: &str) -> Imports<'a> {
    let tree = ModuleTree::of_target(workspace, root);
    let mut imports = Imports::new();
    for (number, module) in tree.modules.iter().enumerate() {
        for path in used_paths(module.content) {
            if is_map(module) && path.exports {
                continue;
            }
            record(&mut imports, &tree, number, &path);
        }
    }
    imports
}

fn record<'a>(imports: &mut Imports<'a>, tree: &ModuleTree<'a>, from: usize, path: &UsedPath) {
    let own = tree.modules[from].file;
    if let Some(other) = tree.definer(from, &path.segments)
        && other != own
    {
        let line = imports.entry(own).or_default().entry(other);
        line.or_insert(path.line);
    }
}

/// What a map exports it does not use.
fn is_map(module: &Module<'_>) -> bool {
    let name = module.file.rsplit('/').next();
    matches!(name, Some("mod.rs" | "lib.rs" | "main.rs"))
}

/// The circles: for each the files that reach each other.
pub(super) fn circles<'a>(imports: &Imports<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&'a str>> = imports
        .keys()
        .map(|file| (*file, reached_from(imports, file)))
        .collect();
    let mut found = BTreeSet::new();
    for file in imports.keys() {
        let circle: BTreeSet<&'a str> = reached[file]
            .iter()
            .filter(|other| reached.get(**other).is_some_and(|back| back.contains(file)))
            .copied()
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn reached_from<'a>(imports: &Imports<'a>, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = vec![file];
    while let Some(file) = waiting.pop() {
        for other in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*other) {
                waiting.push(other);
            }
        }
    }
    reached
}
