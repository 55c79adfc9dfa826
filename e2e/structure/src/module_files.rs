//! The files that a `mod` item may name.

/// The file of a module that a `mod` item names.
pub(crate) struct ChildFiles {
    /// Where the file may be; the first one that exists is meant.
    pub(crate) candidates: Vec<String>,
    /// Where the module's own children are; none: in the folder of the file.
    pub(crate) folder: Option<String>,
}

/// The file of `module`, named in a file of the folder `beside`, whose child modules are in `folder`.
pub(crate) fn child_files(module: &syn::ItemMod, beside: &str, folder: &str) -> ChildFiles {
    let name = module.ident.to_string();
    let name = name.trim_start_matches("r#");
    match path_attribute(module) {
        Some(path) => ChildFiles {
            candidates: vec![join(beside, &path)],
            folder: None,
        },
        None => ChildFiles {
            candidates: vec![
                format!("{folder}/{name}.rs"),
                format!("{folder}/{name}/mod.rs"),
            ],
            folder: Some(format!("{folder}/{name}")),
        },
    }
}

fn path_attribute(module: &syn::ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        let syn::Expr::Lit(literal) = &pair.value else {
            return None;
        };
        match &literal.lit {
            syn::Lit::Str(path) if pair.path.is_ident("path") => Some(path.value()),
            _ => None,
        }
    })
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &str) -> String {
    path.rsplit_once('/')
        .map_or(String::new(), |(folder, _)| folder.to_owned())
}

/// Joins and resolves `..`, since the paths are compared as text.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}
