//! A function stays on a screen: more than 40 lines of code are a note, more than 80 a failure.

use syn::visit::Visit;

use crate::rust_file::{code_lines, line_of};
use crate::{Finding, Workspace};

const RULE: &str = "functions";
const SOFT: usize = 40;
const HARD: usize = 80;

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &workspace.rust {
        let mut counter = Counter {
            path: &file.path,
            findings: &mut findings,
        };
        counter.visit_file(&file.syntax);
    }
    findings
}

struct Counter<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Counter<'_> {
    fn judge(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = code_lines(block);
        let name = &signature.ident;
        let line = line_of(signature);
        if lines > HARD {
            let message = format!("`{name}` has {lines} lines of code, at most {HARD}");
            self.findings
                .push(Finding::fail(RULE, self.path, line, message));
        } else if lines > SOFT {
            let message = format!("`{name}` has {lines} lines of code, should be at most {SOFT}");
            self.findings
                .push(Finding::note(RULE, self.path, line, message));
        }
    }
}

impl<'ast> Visit<'ast> for Counter<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.judge(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.judge(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.judge(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, noted, workspace};

    fn function_with(statements: usize) -> String {
        // Comments and blank lines are not counted.
        format!(
            "fn long() {{\n{}\n}}",
            "// reason\n\nf();\n".repeat(statements)
        )
    }

    #[test]
    fn a_function_over_the_hard_budget_is_refused() {
        let found = check(&workspace(&[("sample/src/lib.rs", &function_with(81))]));
        assert_eq!(broken(&found), ["sample/src/lib.rs"]);
    }

    #[test]
    fn a_method_over_the_hard_budget_is_refused() {
        let text = format!("impl T {{ {} }}", function_with(81));
        let found = check(&workspace(&[("sample/src/lib.rs", &text)]));
        assert_eq!(broken(&found), ["sample/src/lib.rs"]);
    }

    #[test]
    fn a_function_over_the_soft_budget_is_only_noted() {
        let found = check(&workspace(&[("sample/src/lib.rs", &function_with(80))]));
        assert_eq!((broken(&found).len(), noted(&found)), (0, 1));
    }
}
