//! The paths that the code of one module uses: imports, types, expressions and the arguments of macros.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use super::names::leaves;
use crate::rust_file::{is_for_tests, line_of};

/// A path with its line.
#[derive(Debug)]
pub(crate) struct UsedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// A `pub use`: it passes a name on.
    pub(crate) exports: bool,
}

/// The paths of two segments or more in these items, without modules (they are visited by themselves) and without items
/// for unit tests. A path of one segment names something that is defined or imported here.
pub(crate) fn used_paths(content: &[syn::Item]) -> Vec<UsedPath> {
    let mut finder = Finder::default();
    content.iter().for_each(|item| finder.visit_item(item));
    finder.paths
}

#[derive(Default)]
struct Finder {
    paths: Vec<UsedPath>,
}

impl Finder {
    fn found(&mut self, segments: Vec<String>, line: usize) {
        if segments.len() > 1 {
            self.paths.push(UsedPath {
                segments,
                line,
                exports: false,
            });
        }
    }

    /// The arguments of a macro are tokens: names that `::` joins are a path.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.found(std::mem::take(&mut segments), line);
                        line = line_of(&ident);
                    }
                    segments.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.found(std::mem::take(&mut segments), line);
                    self.read_tokens(group.stream());
                    colons = 0;
                }
                _ => {
                    self.found(std::mem::take(&mut segments), line);
                    colons = 0;
                }
            }
        }
        self.found(segments, line);
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let exports = !matches!(item.vis, syn::Visibility::Inherited);
        let line = line_of(item);
        let paths = leaves(&item.tree, &mut Vec::new()).into_iter();
        self.paths.extend(paths.map(|(segments, _)| UsedPath {
            segments,
            line,
            exports,
        }));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter();
        let segments = names.map(|segment| segment.ident.to_string()).collect();
        self.found(segments, line_of(path));
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.read_tokens(call.tokens.clone());
    }
}
