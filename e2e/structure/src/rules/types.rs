//! One name denotes one type: a search for a name ends at one declaration, whatever crate it is used in.

use std::collections::{BTreeMap, BTreeSet};

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
/// Names that still denote several types. A name that denotes one type is refused here, so that the list only shrinks.
const SEVERAL: [&str; 23] = [
    "Access",
    "AllowedNamespaces",
    "Attachment",
    "Cause",
    "ClientCounts",
    "Cluster",
    "Difference",
    "Exits",
    "Finding",
    "Gate",
    "GatewayRole",
    "Inputs",
    "Isolation",
    "NodeCounts",
    "Objects",
    "Outcome",
    "Pod",
    "PodCounts",
    "Published",
    "Refusal",
    "Selector",
    "Step",
    "Written",
];

/// Where a type is declared.
type Place = (String, usize);

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    judge(declarations(workspace), &SEVERAL)
}

fn judge(declared: BTreeMap<String, Vec<Place>>, several: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut left: BTreeSet<&str> = several.iter().copied().collect();
    for (name, places) in declared {
        let [(first, _), others @ ..] = places.as_slice() else {
            continue;
        };
        let is_listed = !others.is_empty() && left.remove(name.as_str());
        for (path, line) in others {
            let message =
                format!("`{name}` is declared in {first} too: give one of them a name of its own");
            findings.push(if is_listed {
                Finding::note(RULE, path, *line, message)
            } else {
                Finding::fail(RULE, path, *line, message)
            });
        }
    }
    for name in left {
        let message = format!("`{name}` denotes one type: take it off the list of this rule");
        findings.push(Finding::fail(RULE, file!(), 0, message));
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
    use super::{declarations, judge};
    use crate::sample::{broken, noted, workspace};
    use crate::{Finding, Workspace};

    fn found(workspace: &Workspace, several: &[&str]) -> Vec<Finding> {
        judge(declarations(workspace), several)
    }

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
                broken(&found(&sample, &[])),
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
            assert_eq!(found(&sample, &[]), [], "{path}: {text}");
        }
    }

    #[test]
    fn a_listed_name_is_noted_until_it_denotes_one_type() {
        let twice = workspace(&[
            ("crds/src/route.rs", "pub struct Route;"),
            ("node-agent/src/route.rs", "pub struct Route;"),
        ]);
        let noticed = found(&twice, &["Route"]);
        assert_eq!((broken(&noticed).len(), noted(&noticed)), (0, 1));
        let once = workspace(&[("crds/src/route.rs", "pub struct Route;")]);
        assert_eq!(broken(&found(&once, &["Route"])), [file!()]);
    }
}
