//! Reads the workspace from disk: files from git, packages from cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Dependency, DependencyKind, LintError, Package, TextFile, Workspace};

/// Reads the workspace that the current folder belongs to.
///
/// # Errors
/// [`LintError`] when git or cargo cannot list it, or a listed file cannot be read.
pub fn load() -> Result<Workspace, LintError> {
    let metadata = run(&["cargo", "metadata", "--no-deps", "--format-version=1"])?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|source| LintError::Metadata { source })?;
    let root = PathBuf::from(text_field(&metadata, "workspace_root")?);
    let mut packages = Vec::new();
    for value in list_field(&metadata, "packages")? {
        let mut package = package_of(value, &root)?;
        package.reaches = reached_by(&package.name)?;
        packages.push(package);
    }
    Ok(Workspace::new(read_files(&root)?, packages))
}

/// Lists committed and new files; what git ignores is not checked.
fn read_files(root: &Path) -> Result<Vec<TextFile>, LintError> {
    let shown = root.display().to_string();
    let listing = run(&[
        "git",
        "-C",
        &shown,
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ])?;
    let mut files = Vec::new();
    for path in listing.lines().collect::<BTreeSet<_>>() {
        let full = root.join(path);
        // A file that is deleted but not yet committed is still listed.
        if !full.is_file() {
            continue;
        }
        let bytes =
            std::fs::read(&full).map_err(|source| LintError::Read { path: full, source })?;
        // Pictures and archives have no lines to check.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}

fn package_of(value: &Value, root: &Path) -> Result<Package, LintError> {
    let manifest = PathBuf::from(text_field(value, "manifest_path")?);
    let folder = manifest.parent().unwrap_or(root);
    let mut roots = Vec::new();
    for target in list_field(value, "targets")? {
        roots.push(relative(Path::new(text_field(target, "src_path")?), root));
    }
    let mut dependencies = Vec::new();
    for dependency in list_field(value, "dependencies")? {
        dependencies.push(dependency_of(dependency)?);
    }
    Ok(Package {
        name: text_field(value, "name")?.to_owned(),
        folder: relative(folder, root),
        roots,
        dependencies,
        kept: kept_of(value),
        reaches: BTreeSet::new(),
    })
}

fn dependency_of(value: &Value) -> Result<Dependency, LintError> {
    let package = text_field(value, "name")?.to_owned();
    let import = value
        .get("rename")
        .and_then(Value::as_str)
        .unwrap_or(&package)
        .replace('-', "_");
    let kind = match value.get("kind").and_then(Value::as_str) {
        Some("dev") => DependencyKind::Development,
        Some("build") => DependencyKind::Build,
        _ => DependencyKind::Normal,
    };
    Ok(Dependency {
        package,
        import,
        kind,
    })
}

fn kept_of(value: &Value) -> BTreeMap<String, String> {
    let kept = value.pointer("/metadata/structure/kept");
    let entries = kept.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(name, reason)| Some((name.clone(), reason.as_str()?.to_owned())))
        .collect()
}

/// cargo-deny's `wrappers` see direct edges only, so the floors ask cargo for the whole tree.
fn reached_by(package: &str) -> Result<BTreeSet<String>, LintError> {
    let tree = run(&[
        "cargo",
        "tree",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--package",
        package,
    ])?;
    Ok(tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect())
}

fn run(words: &[&str]) -> Result<String, LintError> {
    let program = words.join(" ");
    let [name, arguments @ ..] = words else {
        return Ok(String::new());
    };
    let output = Command::new(name)
        .args(arguments)
        .output()
        .map_err(|source| LintError::Start {
            program: program.clone(),
            source,
        })?;
    if !output.status.success() {
        return Err(LintError::Failed {
            program,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn text_field<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, LintError> {
    value
        .get(field)
        .and_then(Value::as_str)
        .ok_or(LintError::MetadataField { field })
}

fn list_field<'a>(value: &'a Value, field: &'static str) -> Result<&'a Vec<Value>, LintError> {
    value
        .get(field)
        .and_then(Value::as_array)
        .ok_or(LintError::MetadataField { field })
}
