//! `lib.rs` and `mod.rs` are maps: modules, re-exports, documentation. Code has a name of its own.

use syn::visit::Visit;

use crate::rust_file::{code_lines, line_of};
use crate::{Finding, Workspace};

const RULE: &str = "maps";
/// Enough for constructors and accessors beside a small type, not for logic.
const MOST_LINES: usize = 40;

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let maps = workspace
        .rust
        .iter()
        // Cargo takes `tests/x.rs` for a program, so what tests share can only live in
        // `tests/x/mod.rs`.
        .filter(|file| matches!(file.name(), "lib.rs" | "mod.rs"))
        .filter(|file| !file.path.contains("/tests/"));
    let mut findings = Vec::new();
    for file in maps {
        let mut counter = Counter::default();
        counter.visit_file(&file.syntax);
        if counter.lines > MOST_LINES {
            let message = format!(
                "{} lines of code in functions, at most {MOST_LINES}: move them to a module",
                counter.lines
            );
            findings.push(Finding::fail(RULE, &file.path, 0, message));
        }
        for (line, what) in counter.types {
            let message = format!("{what} in a map: a module of its own says more");
            findings.push(Finding::note(RULE, &file.path, line, message));
        }
    }
    findings
}

#[derive(Default)]
struct Counter {
    lines: usize,
    types: Vec<(usize, &'static str)>,
}

impl<'ast> Visit<'ast> for Counter {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.lines += code_lines(&function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.lines += code_lines(&function.block);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.types.push((line_of(item), "a struct"));
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.types.push((line_of(item), "an enum"));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.types.push((line_of(item), "a trait"));
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, noted, workspace};

    #[test]
    fn logic_in_a_map_is_refused() {
        let body = "f();\n".repeat(41);
        for text in [
            format!("fn logic() {{\n{body}}}"),
            format!("impl T {{ fn logic() {{\n{body}}} }}"),
        ] {
            let found = check(&workspace(&[("sample/src/lib.rs", &text)]));
            assert_eq!(broken(&found), ["sample/src/lib.rs"], "{text}");
        }
    }

    #[test]
    fn types_in_a_map_are_noted() {
        for text in ["struct A;", "enum A {}", "trait A {}"] {
            let found = check(&workspace(&[("sample/src/part/mod.rs", text)]));
            assert_eq!((broken(&found).len(), noted(&found)), (0, 1), "{text}");
        }
    }

    #[test]
    fn modules_and_re_exports_are_what_a_map_holds() {
        let text = "//! Doc.\nmod a;\npub use a::A;\npub const N: u8 = 1;";
        assert!(check(&workspace(&[("sample/src/lib.rs", text)])).is_empty());
    }
}
