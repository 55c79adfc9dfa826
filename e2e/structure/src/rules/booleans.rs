//! `apply(true, false)` cannot be read: a visible function takes an enum or has two names.

use syn::visit::Visit;

use crate::rust_file::{is_for_tests, line_of};
use crate::{Finding, Workspace};

const RULE: &str = "booleans";

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

impl Finder<'_> {
    fn judge(&mut self, signature: &syn::Signature) {
        for input in &signature.inputs {
            let syn::FnArg::Typed(argument) = input else {
                continue;
            };
            if is_bool(&argument.ty) {
                let message = format!("`{}` takes a bool: use an enum", signature.ident);
                self.findings
                    .push(Finding::fail(RULE, self.path, line_of(argument), message));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if is_visible(&function.vis) {
            self.judge(&function.sig);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // Somebody else's trait dictates the signatures of its implementation; ours is judged
        // where it is declared.
        if item.trait_.is_none() {
            syn::visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if is_visible(&function.vis) {
            self.judge(&function.sig);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        self.judge(&function.sig);
    }
}

fn is_visible(visibility: &syn::Visibility) -> bool {
    !matches!(visibility, syn::Visibility::Inherited)
}

fn is_bool(kind: &syn::Type) -> bool {
    match kind {
        syn::Type::Path(path) => path.path.is_ident("bool"),
        syn::Type::Reference(reference) => is_bool(&reference.elem),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn a_boolean_parameter_of_a_visible_function_is_refused() {
        for text in [
            "pub fn f(a: bool) {}",
            "pub(crate) fn f(a: u8, b: &bool) {}",
            "impl T { pub fn f(&self, a: bool) {} }",
            "trait T { fn f(&self, a: bool); }",
        ] {
            let found = check(&workspace(&[("sample/src/lib.rs", text)]));
            assert_eq!(broken(&found), ["sample/src/lib.rs"], "{text}");
        }
    }

    #[test]
    fn private_functions_and_foreign_traits_are_not_judged() {
        let text = "fn f(a: bool) {} impl Visitor for T { fn visit_bool(self, v: bool) {} }";
        assert!(check(&workspace(&[("sample/src/lib.rs", text)])).is_empty());
    }
}
