//! A Rust file that no `mod` names is not compiled: its code and its tests are dead, silently.

use std::collections::BTreeSet;

use syn::visit::Visit;

use crate::module_files::{ChildFiles, child_files, folder_of, join};
use crate::{Finding, RustFile, Workspace};

const RULE: &str = "orphans";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    for root in workspace.packages.iter().flat_map(|package| &package.roots) {
        follow(workspace, root, &folder_of(root), &mut reached);
    }
    let orphans = workspace
        .rust
        .iter()
        .filter(|file| !reached.contains(&file.path))
        .map(|file| {
            Finding::fail(
                RULE,
                &file.path,
                0,
                "no `mod` and no target names this file",
            )
        });
    let unparsed = workspace
        .unparsed
        .iter()
        .map(|(path, message)| Finding::fail(RULE, path, 0, format!("does not parse: {message}")));
    orphans.chain(unparsed).collect()
}

/// Walks the modules of one file; `folder` is where its child modules live.
fn follow(workspace: &Workspace, path: &str, folder: &str, reached: &mut BTreeSet<String>) {
    let Some(file) = workspace.rust.iter().find(|file| file.path == path) else {
        return;
    };
    if !reached.insert(path.to_owned()) {
        return;
    }
    for child in children(file, folder) {
        let Some(found) = child
            .candidates
            .iter()
            .find(|candidate| workspace.text(candidate).is_some())
        else {
            continue;
        };
        let folder = match child.folder {
            Some(folder) => folder,
            None => folder_of(found),
        };
        follow(workspace, found, &folder, reached);
    }
}

fn children(file: &RustFile, folder: &str) -> Vec<ChildFiles> {
    let mut finder = Finder {
        beside: folder_of(&file.path),
        folders: vec![folder.to_owned()],
        children: Vec::new(),
    };
    finder.visit_file(&file.syntax);
    finder.children
}

struct Finder {
    beside: String,
    folders: Vec<String>,
    children: Vec<ChildFiles>,
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let name = module.ident.to_string();
        let name = name.trim_start_matches("r#");
        let here = self.folders.last().cloned().unwrap_or_default();
        if module.content.is_some() {
            self.folders.push(format!("{here}/{name}"));
            syn::visit::visit_item_mod(self, module);
            self.folders.pop();
            return;
        }
        self.children.push(child_files(module, &self.beside, &here));
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.is_ident("include")
            && let Ok(path) = call.parse_body::<syn::LitStr>()
        {
            self.children.push(ChildFiles {
                candidates: vec![join(&self.beside, &path.value())],
                folder: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn a_file_that_no_mod_names_is_refused() {
        let found = check(&workspace(&[
            ("sample/src/lib.rs", "mod used; mod inner { mod deep; }"),
            ("sample/src/used.rs", "mod child;"),
            ("sample/src/used/child.rs", ""),
            ("sample/src/inner/deep.rs", ""),
            ("sample/src/forgotten.rs", ""),
        ]));
        assert_eq!(broken(&found), ["sample/src/forgotten.rs"]);
    }

    #[test]
    fn path_attributes_and_includes_count_as_names() {
        let found = check(&workspace(&[
            (
                "sample/src/lib.rs",
                "#[path = \"../other/a.rs\"] mod a; include!(\"b.rs\");",
            ),
            ("sample/other/a.rs", "mod beside;"),
            ("sample/other/beside.rs", ""),
            ("sample/src/b.rs", ""),
        ]));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_file_that_does_not_parse_is_refused() {
        let found = check(&workspace(&[("sample/src/lib.rs", "fn {")]));
        assert_eq!(broken(&found), ["sample/src/lib.rs"]);
    }
}
