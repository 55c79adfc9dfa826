//! A name that fits everything collects everything: such modules and types have no owner.

use syn::visit::Visit;

use crate::rust_file::line_of;
use crate::{Finding, Workspace};

const RULE: &str = "names";
const BANNED: [&str; 8] = [
    "util", "utils", "common", "helper", "helpers", "manager", "managers", "misc",
];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &workspace.files {
        let parts = file.path.split('/').map(|part| {
            // Only the last extension goes: `x.common.rs` is as bad as `common.rs`.
            part.rsplit_once('.').map_or(part, |(stem, _)| stem)
        });
        for part in parts.filter(|part| is_banned(part)) {
            let message = format!("`{part}` says nothing about what belongs there");
            findings.push(Finding::fail(RULE, &file.path, 0, message));
        }
    }
    for file in &workspace.rust {
        let mut finder = Finder {
            path: &file.path,
            findings: &mut findings,
        };
        finder.visit_file(&file.syntax);
    }
    findings
}

/// Splits `snake_case`, `kebab-case` and `CamelCase` into words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter == '-' || letter == '.' || letter.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut()
            && letter.is_alphanumeric()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

fn is_banned(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| BANNED.contains(&word.as_str()))
}

struct Finder<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Finder<'_> {
    fn judge(&mut self, name: &syn::Ident) {
        if is_banned(&name.to_string()) {
            let message = format!("`{name}` says nothing about what belongs there");
            self.findings
                .push(Finding::fail(RULE, self.path, line_of(name), message));
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.judge(&item.ident);
        syn::visit::visit_item_mod(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.judge(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.judge(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.judge(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.judge(&item.ident);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn a_banned_file_or_folder_name_is_refused() {
        let found = check(&workspace(&[
            ("sample/src/net_utils.rs", ""),
            ("sample/common/fine.rs", ""),
            ("sample/src/community.rs", ""),
        ]));
        assert_eq!(
            broken(&found),
            ["sample/src/net_utils.rs", "sample/common/fine.rs"]
        );
    }

    #[test]
    fn a_banned_module_or_type_name_is_refused() {
        for text in [
            "mod misc {}",
            "struct RouteManager;",
            "enum HelperKind {}",
            "trait Utils {}",
            "type Common = u8;",
            "mod inner { struct Helper; }",
        ] {
            let found = check(&workspace(&[("sample/src/lib.rs", text)]));
            assert_eq!(broken(&found), ["sample/src/lib.rs"], "{text}");
        }
    }
}
