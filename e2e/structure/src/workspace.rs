//! The workspace as data: its files, its packages and what each package reaches.

use std::collections::{BTreeMap, BTreeSet};

use crate::RustFile;

/// A committed text file.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// Path relative to the workspace's root, with `/`.
    pub path: String,
    pub text: String,
}

/// The section of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DependencyKind {
    /// `[dependencies]`.
    Normal,
    /// `[dev-dependencies]`.
    Development,
    /// `[build-dependencies]`.
    Build,
}

/// One direct dependency of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The name of the package that it names.
    pub package: String,
    /// The name that the code uses, with `_`.
    pub import: String,
    /// The section of the manifest.
    pub kind: DependencyKind,
}

/// One package of the workspace.
#[derive(Debug, Clone, Default)]
pub struct Package {
    pub name: String,
    /// Its folder, relative to the workspace's root.
    pub folder: String,
    /// The root files of its targets, relative to the workspace's root.
    pub roots: Vec<String>,
    /// What its manifest names.
    pub dependencies: Vec<Dependency>,
    /// Dependencies that no source file names, each with the reason
    /// (`[package.metadata.structure.kept]`).
    pub kept: BTreeMap<String, String>,
    /// Every package in its normal dependency tree, from `cargo tree -e normal`.
    pub reaches: BTreeSet<String>,
}

/// The workspace as data.
#[derive(Default)]
pub struct Workspace {
    /// Committed and new text files, without what git ignores.
    pub files: Vec<TextFile>,
    /// The parsed Rust files among them.
    pub rust: Vec<RustFile>,
    /// Files that did not parse: path and the parser's message.
    pub unparsed: Vec<(String, String)>,
    pub packages: Vec<Package>,
}

impl Workspace {
    /// Parses the Rust files among `files`.
    pub fn new(files: Vec<TextFile>, packages: Vec<Package>) -> Self {
        let mut rust = Vec::new();
        let mut unparsed = Vec::new();
        for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
            match RustFile::parse(&file.path, &file.text) {
                Ok(parsed) => rust.push(parsed),
                Err(error) => unparsed.push((file.path.clone(), error.to_string())),
            }
        }
        Self {
            files,
            rust,
            unparsed,
            packages,
        }
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }

    /// Whether `path` is a file of the workspace or a folder that holds one.
    pub fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files
            .iter()
            .any(|file| file.path == path || file.path.starts_with(&folder))
    }

    /// The package that a file belongs to: the one with the longest folder, since crates nest.
    pub fn owner(&self, path: &str) -> Option<&Package> {
        self.packages
            .iter()
            .filter(|package| path.starts_with(&format!("{}/", package.folder)))
            .max_by_key(|package| package.folder.len())
    }
}
