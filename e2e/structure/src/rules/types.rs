//! One name denotes one type: a search for a name ends at one declaration, whatever crate it is used in.

use std::collections::BTreeMap;

use syn::visit::Visit;

use crate::rust_file::{is_for_tests, line_of};
use crate::{Finding, Workspace};

const RULE: &str = "types";
/// The lab, its proof and the lint read the product's types and export none.
const OUTSIDE_THE_PRODUCT: &str = "e2e/";
/// Folders of a crate whose files are linked into no program.
const FOR_TESTS: [&str; 3] = ["/tests/", "/benches/", "/examples/"];
/// The types that clap fills in: each program has its own, and no other module names them.
const COMMAND_LINE: [&str; 3] = ["Arguments", "Cli", "Verb"];

/// Where a type is declared.
type Place = (String, usize);

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, places) in declarations(workspace) {
        let [(first, _), others @ ..] = places.as_slice() else {
            continue;
        };
        for (path, line) in others {
            let message =
                format!("`{name}` is declared in {first} too: give one of them a name of its own");
            findings.push(Finding::fail(RULE, path, *line, message));
        }
    }
    findings
}

/// The types of the product that other modules can name, by name, in the order of the files.
fn declarations(workspace: &Workspace) -> BTreeMap<String, Vec<Place>> {
    let mut declared = BTreeMap::new();
    for file in &workspace.rust {
        let is_for_tests = FOR_TESTS.iter().any(|folder| file.path.contains(folder));
        if !is_for_tests && !file.path.starts_with(OUTSIDE_THE_PRODUCT) {
            let mut finder = Finder {
                path: &file.path,
                declared: &mut declared,
            };
            finder.visit_file(&file.syntax);
        }
    }
    declared
}

struct Finder<'a> {
    path: &'a str,
    declared: &'a mut BTreeMap<String, Vec<Place>>,
}

impl Finder<'_> {
    fn note(&mut self, visibility: &syn::Visibility, name: &syn::Ident) {
        let text = name.to_string();
        if matches!(visibility, syn::Visibility::Inherited) || COMMAND_LINE.contains(&text.as_str())
        {
            return;
        }
        let places = self.declared.entry(text).or_default();
        places.push((self.path.to_owned(), line_of(name)));
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.note(&item.vis, &item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.note(&item.vis, &item.ident);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn a_second_type_of_a_name_is_refused_in_another_crate() {
        for text in [
            "pub struct Route;",
            "pub(crate) enum Route {}",
            "pub(super) trait Route {}",
            "pub type Route = u8;",
            "mod inner { pub struct Route; }",
        ] {
            let sample = workspace(&[
                ("crds/src/route.rs", "pub struct Route;"),
                ("node-agent/src/route.rs", text),
            ]);
            assert_eq!(
                broken(&check(&sample)),
                ["node-agent/src/route.rs"],
                "{text}"
            );
        }
    }

    #[test]
    fn private_types_tests_and_command_lines_are_free() {
        for (path, text) in [
            ("node-agent/src/route.rs", "struct Route; pub struct Verb;"),
            (
                "node-agent/src/route.rs",
                "#[cfg(test)] mod tests { pub struct Route; }",
            ),
            (
                "node-agent/src/route.rs",
                "impl FromStr for Mac { type Route = u8; }",
            ),
            ("node-agent/tests/route.rs", "pub struct Route;"),
            ("e2e/src/route.rs", "pub struct Route;"),
        ] {
            let sample = workspace(&[
                ("crds/src/route.rs", "pub struct Route; pub struct Verb;"),
                (path, text),
            ]);
            assert_eq!(check(&sample), [], "{path}: {text}");
        }
    }
}
