//! A parsed Rust file and the questions that several rules ask of it.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;

/// A parsed Rust file.
pub struct RustFile {
    /// Path relative to the workspace's root, with `/`.
    pub path: String,
    pub syntax: syn::File,
}

impl RustFile {
    /// Parses `text`.
    ///
    /// # Errors
    /// The parser's error, when the text is not Rust.
    pub fn parse(path: &str, text: &str) -> Result<Self, syn::Error> {
        Ok(Self {
            path: path.to_owned(),
            syntax: syn::parse_file(text)?,
        })
    }

    /// The file's name without its folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Where something begins, as a line counted from 1.
pub(crate) fn line_of(node: &impl Spanned) -> usize {
    node.span().start().line
}

/// Whether the item is compiled for tests only.
pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|path| path.is_ident("test")))
    })
}

/// The lines of code between a block's braces: lines with a token on them, so that comments and
/// blank lines cost nothing.
pub(crate) fn code_lines(block: &syn::Block) -> usize {
    let mut lines = BTreeSet::new();
    for statement in &block.stmts {
        let mut tokens = TokenStream::new();
        statement.to_tokens(&mut tokens);
        collect_lines(tokens, &mut lines);
    }
    lines.len()
}

fn collect_lines(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                lines.insert(group.span_open().start().line);
                collect_lines(group.stream(), lines);
                lines.insert(group.span_close().end().line);
            }
            other => lines.extend(other.span().start().line..=other.span().end().line),
        }
    }
}
