//! What is committed works on any machine: no path and no host of the one it was written on.

use crate::{Finding, Workspace};

const RULE: &str = "machine";

/// Hosts that documents and manifests may point to; anything else is a private machine, a
/// mirror, or a page that was not reviewed.
const HOSTS: [&str; 19] = [
    "github.com",
    "crates.io",
    "docs.rs",
    "doc.rust-lang.org",
    "rust-lang.org",
    "rustup.rs",
    "kubernetes.io",
    "k8s.io",
    "kernel.org",
    "netfilter.org",
    "rfc-editor.org",
    "ietf.org",
    "wireguard.com",
    "apache.org",
    "keepachangelog.com",
    "semver.org",
    "json-schema.org",
    "cni.dev",
    // The namespace of SVG's elements; no program fetches it.
    "www.w3.org",
];
/// Names that RFC 2606 and RFC 6761 set aside, and the project's own.
const RESERVED: [&str; 8] = [
    "example",
    "example.com",
    "example.net",
    "example.org",
    "test",
    "invalid",
    "localhost",
    "postern.dev",
];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let machine_path = ["", "work", ""].join("/");
    let mut findings = Vec::new();
    for file in &workspace.files {
        for (index, line) in file.text.lines().enumerate() {
            if line.contains(&machine_path) {
                let message = format!("`{machine_path}` is a path of one machine");
                findings.push(Finding::fail(RULE, &file.path, index + 1, message));
            }
            for host in hosts(line).filter(|host| !is_public(host)) {
                let message = format!("`{host}` is not among the hosts that may be named");
                findings.push(Finding::fail(RULE, &file.path, index + 1, message));
            }
        }
    }
    findings
}

/// The hosts of the line's URLs; placeholders such as `{address}` have none.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://").skip(1).filter_map(|rest| {
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.' && letter != '-')
            .unwrap_or(rest.len());
        let host = rest[..end].trim_end_matches('.');
        host.contains('.').then_some(host)
    })
}

fn is_public(host: &str) -> bool {
    let is_address = host
        .chars()
        .all(|letter| letter.is_ascii_digit() || letter == '.');
    is_address
        || HOSTS
            .iter()
            .chain(RESERVED.iter())
            .any(|name| host == *name || host.ends_with(&format!(".{name}")))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn a_path_of_one_machine_is_refused() {
        let text = format!("cd {}main", ["", "work", ""].join("/"));
        let found = check(&workspace(&[("docs/how.md", &text)]));
        assert_eq!(broken(&found), ["docs/how.md"]);
    }

    #[test]
    fn an_unknown_host_is_refused() {
        let url = ["https:/", "mirror.somewhere.internal", "simple"].join("/");
        let found = check(&workspace(&[("deploy/x.toml", &url)]));
        assert_eq!(broken(&found), ["deploy/x.toml"]);
    }

    #[test]
    fn public_documents_examples_and_addresses_may_be_named() {
        let text = "https://www.kernel.org/doc http://vpn.example.net:51820 http://198.51.100.1/ \
                    http://{world}/ unix:///run/x.sock";
        assert!(check(&workspace(&[("docs/how.md", text)])).is_empty());
    }
}
