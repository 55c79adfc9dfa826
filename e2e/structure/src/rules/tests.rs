//! The list of tests describes the product: names are sentences, and nothing is skipped in green.

use syn::visit::Visit;

use crate::rust_file::line_of;
use crate::{Finding, Workspace};

const RULE: &str = "tests";
/// A subject, a verb and something more.
const FEWEST_WORDS: usize = 3;

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &workspace.rust {
        let mut finder = Finder {
            path: &file.path,
            findings: &mut findings,
        };
        finder.visit_file(&file.syntax);
    }
    findings
}

struct Finder<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let is = |name: &str| {
            function.attrs.iter().any(|attribute| {
                let last = attribute.path().segments.last();
                last.is_some_and(|segment| segment.ident == name)
            })
        };
        let name = function.sig.ident.to_string();
        let line = line_of(&function.sig);
        if is("ignore") {
            let message = format!("`{name}` is skipped in green: fail, or name the capability");
            self.findings
                .push(Finding::fail(RULE, self.path, line, message));
        }
        if (is("test") || is("rstest")) && name.split('_').count() < FEWEST_WORDS {
            let message = format!("`{name}` is no sentence: say what happens when");
            self.findings
                .push(Finding::fail(RULE, self.path, line, message));
        }
        syn::visit::visit_item_fn(self, function);
    }
}

#[cfg(test)]
mod cases {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn a_skipped_test_is_refused() {
        let text = "#[test] #[ignore = \"slow\"] fn the_tunnel_comes_back() {}";
        let found = check(&workspace(&[("sample/src/lib.rs", text)]));
        assert_eq!(broken(&found), ["sample/src/lib.rs"]);
    }

    #[test]
    fn a_test_whose_name_is_no_sentence_is_refused() {
        for text in [
            "#[test] fn works() {}",
            "#[tokio::test] async fn it_works() {}",
        ] {
            let found = check(&workspace(&[("sample/src/lib.rs", text)]));
            assert_eq!(broken(&found), ["sample/src/lib.rs"], "{text}");
        }
    }
}
