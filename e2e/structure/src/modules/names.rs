//! The names that a module defines and imports.

use std::collections::{BTreeMap, BTreeSet};

/// The names of one module.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Items that the module defines.
    pub(crate) items: BTreeSet<String>,
    /// Names that a `use` brings into the module, with the paths that they stand for.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// Modules of which every name is imported.
    pub(crate) globs: Vec<Vec<String>>,
}

impl Names {
    /// Adds what the item defines or imports; a module is not added.
    pub(crate) fn add(&mut self, item: &syn::Item) {
        let name = match item {
            syn::Item::Const(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Fn(item) => &item.sig.ident,
            syn::Item::Static(item) => &item.ident,
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Type(item) => &item.ident,
            syn::Item::Union(item) => &item.ident,
            syn::Item::Use(item) => return self.import(&item.tree, &mut Vec::new()),
            _ => return,
        };
        self.items.insert(name.to_string());
    }

    fn import(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        for (path, name) in leaves(tree, before) {
            match name {
                Some(name) => {
                    self.imports.insert(name, path);
                }
                None => self.globs.push(path),
            }
        }
    }
}

/// The paths of a `use`, each with the name that it brings; none: every name of that module.
pub(crate) fn leaves(
    tree: &syn::UseTree,
    before: &mut Vec<String>,
) -> Vec<(Vec<String>, Option<String>)> {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            let found = leaves(&path.tree, before);
            before.pop();
            found
        }
        syn::UseTree::Name(name) => {
            let mut path = before.clone();
            if name.ident != "self" {
                path.push(name.ident.to_string());
            }
            let last = path.last().cloned();
            vec![(path, last)]
        }
        syn::UseTree::Rename(rename) => {
            let mut path = before.clone();
            if rename.ident != "self" {
                path.push(rename.ident.to_string());
            }
            vec![(path, Some(rename.rename.to_string()))]
        }
        syn::UseTree::Glob(_) => vec![(before.clone(), None)],
        syn::UseTree::Group(group) => {
            let trees = group.items.iter();
            trees.flat_map(|tree| leaves(tree, before)).collect()
        }
    }
}
