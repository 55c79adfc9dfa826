//! The module tree of one target.

use std::collections::BTreeMap;

use super::names::Names;
use crate::module_files::{child_files, folder_of};
use crate::rust_file::is_for_tests;
use crate::{RustFile, Workspace};

/// A path of re-exports that is longer than this is a circle of names.
const MOST_HOPS: usize = 32;

/// One module, inline or a file.
pub(crate) struct Module<'a> {
    /// The file that the module is written in.
    pub(crate) file: &'a str,
    pub(crate) content: &'a [syn::Item],
    names: Names,
    parent: usize,
    children: BTreeMap<String, usize>,
}

/// The modules that a target compiles; the first one is the root. Modules for unit tests are left out.
#[derive(Default)]
pub(crate) struct ModuleTree<'a> {
    pub(crate) modules: Vec<Module<'a>>,
}

impl<'a> ModuleTree<'a> {
    /// Reads the modules from the target's root file on.
    pub(crate) fn of_target(workspace: &'a Workspace, root: &str) -> Self {
        let mut tree = Self::default();
        if let Some(file) = rust_file(workspace, root) {
            tree.add(workspace, file, &file.syntax.items, &folder_of(root), 0);
        }
        tree
    }

    fn add(
        &mut self,
        workspace: &'a Workspace,
        file: &'a RustFile,
        content: &'a [syn::Item],
        folder: &str,
        parent: usize,
    ) -> usize {
        let own = self.modules.len();
        let mut names = Names::default();
        content.iter().for_each(|item| names.add(item));
        self.modules.push(Module {
            file: &file.path,
            content,
            names,
            parent,
            children: BTreeMap::new(),
        });
        for item in content {
            let syn::Item::Mod(module) = item else {
                continue;
            };
            if is_for_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let child = match &module.content {
                Some((_, items)) => {
                    let folder = format!("{folder}/{name}");
                    Some(self.add(workspace, file, items, &folder, own))
                }
                None => self.add_file(workspace, file, module, folder, own),
            };
            if let Some(child) = child {
                self.modules[own].children.insert(name, child);
            }
        }
        own
    }

    fn add_file(
        &mut self,
        workspace: &'a Workspace,
        file: &RustFile,
        module: &syn::ItemMod,
        folder: &str,
        parent: usize,
    ) -> Option<usize> {
        let named = child_files(module, &folder_of(&file.path), folder);
        let found = named
            .candidates
            .iter()
            .find_map(|path| rust_file(workspace, path))?;
        let folder = named.folder.unwrap_or_else(|| folder_of(&found.path));
        Some(self.add(workspace, found, &found.syntax.items, &folder, parent))
    }

    /// The file that defines the item which a path names, seen from a module; none for modules, for other crates and
    /// for names that are not in scope there.
    pub(crate) fn definer(&self, from: usize, path: &[String]) -> Option<&'a str> {
        match self.resolve(from, path, MOST_HOPS)? {
            Named::Item(module) => Some(self.modules[module].file),
            Named::Module(_) => None,
        }
    }

    fn resolve(&self, from: usize, path: &[String], hops: usize) -> Option<Named> {
        let mut at = from;
        for (position, segment) in path.iter().enumerate() {
            at = match segment.as_str() {
                "crate" => 0,
                "self" => at,
                "super" => self.modules[at].parent,
                name => match self.look_up(at, name, hops.checked_sub(1)?)? {
                    Named::Module(module) => module,
                    // What follows an item is a variant or an associated item of it.
                    item @ Named::Item(_) => return Some(item),
                },
            };
            if position + 1 == path.len() {
                return Some(Named::Module(at));
            }
        }
        None
    }

    fn look_up(&self, module: usize, name: &str, hops: usize) -> Option<Named> {
        let known = &self.modules[module];
        if let Some(child) = known.children.get(name) {
            return Some(Named::Module(*child));
        }
        if known.names.items.contains(name) {
            return Some(Named::Item(module));
        }
        if let Some(path) = known.names.imports.get(name) {
            // `use clap::clap` would look itself up without end.
            return self.resolve(module, path, hops);
        }
        known
            .names
            .globs
            .iter()
            .find_map(|path| match self.resolve(module, path, hops)? {
                Named::Module(other) if other != module => {
                    self.look_up(other, name, hops.checked_sub(1)?)
                }
                _ => None,
            })
    }
}

/// What a path names.
#[derive(Debug, Clone, Copy)]
enum Named {
    Module(usize),
    /// An item of this module.
    Item(usize),
}

fn rust_file<'a>(workspace: &'a Workspace, path: &str) -> Option<&'a RustFile> {
    workspace.rust.iter().find(|file| file.path == path)
}
