//! An error has a variant for each act that failed, and its printed chain contains each fact once.

use quote::ToTokens;
use syn::visit::Visit;

use crate::rust_file::{is_for_tests, line_of};
use crate::{Finding, Workspace};

const RULE: &str = "errors";

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
    fn refuse(&mut self, line: usize, message: &str) {
        self.findings
            .push(Finding::fail(RULE, self.path, line, message));
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if item.ident.to_string().ends_with("Error") {
            for variant in item.variants.iter().filter(|variant| is_any_text(variant)) {
                let message = "a variant that is any text: one variant per failed act, with fields";
                self.refuse(line_of(variant), message);
            }
        }
        for variant in item.variants.iter().filter(|variant| repeats(variant)) {
            let message = "the message repeats its source: the chain prints it anyway";
            self.refuse(line_of(variant), message);
        }
        syn::visit::visit_item_enum(self, item);
    }

    fn visit_type_path(&mut self, kind: &'ast syn::TypePath) {
        let text = kind.to_token_stream().to_string();
        let boxed = text.starts_with("Box < dyn ") && text.contains("Error");
        if boxed {
            self.refuse(line_of(kind), "a boxed error: an enum says what can fail");
            return;
        }
        syn::visit::visit_type_path(self, kind);
    }
}

/// Whether the variant is one `String` that is also its whole message.
fn is_any_text(variant: &syn::Variant) -> bool {
    let syn::Fields::Unnamed(fields) = &variant.fields else {
        return false;
    };
    let mut kinds = fields.unnamed.iter().map(|field| &field.ty);
    let (Some(syn::Type::Path(only)), None) = (kinds.next(), kinds.next()) else {
        return false;
    };
    let mut messages = variant
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("error"));
    only.path.is_ident("String")
        && messages.all(|attribute| {
            let message = attribute.parse_args::<syn::LitStr>();
            message.is_ok_and(|message| message.value() == "{0}")
        })
}

/// Whether the message of `#[error("...")]` prints the field `source`.
fn repeats(variant: &syn::Variant) -> bool {
    let has_source = variant.fields.iter().any(|field| {
        field
            .ident
            .as_ref()
            .is_some_and(|identifier| identifier == "source")
    });
    has_source
        && variant
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("error"))
            .any(|attribute| attribute.to_token_stream().to_string().contains("{source"))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn an_error_that_is_any_text_boxed_or_repeated_is_refused() {
        for text in [
            "enum LoadError { Other(String) }",
            "enum LoadError { #[error(\"{0}\")] Other(String) }",
            "fn f() -> Result<(), Box<dyn std::error::Error>> { Ok(()) }",
            "enum E { #[error(\"no: {source}\")] A { #[source] source: io::Error } }",
        ] {
            let found = check(&workspace(&[("sample/src/lib.rs", text)]));
            assert_eq!(broken(&found), ["sample/src/lib.rs"], "{text}");
        }
    }

    #[test]
    fn fields_with_a_source_are_what_an_error_has() {
        let text = "enum LoadError { #[error(\"{path}\")] Read { path: String, source: io::Error },
                                     #[error(\"{0} is no prefix\")] Prefix(String) }
                    #[cfg(test)] mod tests { fn f() -> Result<(), Box<dyn Error>> { Ok(()) } }";
        assert!(check(&workspace(&[("sample/src/lib.rs", text)])).is_empty());
    }
}
