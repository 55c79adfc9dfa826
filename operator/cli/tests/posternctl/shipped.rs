//! Files that ship with the program: completion, manual pages, the manifest of the kubectl plugin.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

use crate::folder::Lab;
use crate::verbs::{ends, posternctl, text};

/// The verbs that the help of the program lists.
fn listed(lab: &Lab) -> BTreeSet<String> {
    let help = text(&posternctl(lab, &["--help"]));
    let (_, verbs) = help.split_once("Commands:\n").expect("a list of verbs");
    let (verbs, _) = verbs.split_once("\n\n").expect("an end of the list");
    let first = |line: &str| Some(line.split_whitespace().next()?.to_owned());
    verbs
        .lines()
        .filter_map(first)
        .filter(|verb| verb != "help")
        .collect()
}

/// What bash completes after these letters, by a script for a program of this name.
fn completed(lab: &Lab, script: &str, name: &str, letters: &str) -> String {
    lab.write("completion.bash", script);
    // The function is called as bash calls it: the program, the word, the word before it.
    let ask = format!(
        "source completion.bash; COMP_WORDS=({name} {letters}); COMP_CWORD=1; \
         $(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {name} {letters} {name}; echo \"${{COMPREPLY[@]}}\""
    );
    let bash = Command::new("bash")
        .arg("-c")
        .arg(ask)
        .current_dir(lab.path(""))
        .output();
    text(&bash.expect("bash runs")).trim().to_owned()
}

#[test]
fn bash_completes_verbs_under_both_names_of_the_program() {
    let lab = Lab::new();
    let script = text(&posternctl(&lab, &["completion", "bash"]));
    assert_eq!(completed(&lab, &script, "posternctl", "doc"), "doctor");
    assert_eq!(completed(&lab, &script, "posternctl", "un"), "uninstall");

    let plugin = lab.path("kubectl-postern");
    symlink(env!("CARGO_BIN_EXE_posternctl"), &plugin).expect("a link");
    let output = Command::new(&plugin).args(["completion", "bash"]).output();
    let script = text(&output.expect("the program runs"));
    assert_eq!(completed(&lab, &script, "kubectl-postern", "doc"), "doctor");
}

#[test]
fn every_shell_gets_a_completion_that_names_every_verb() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = posternctl(&lab, &["completion", shell]);
        ends(&output, 0);
        let script = text(&output);
        for verb in listed(&lab) {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn every_verb_has_a_manual_page_and_a_second_run_writes_the_same() {
    let lab = Lab::new();
    ends(&posternctl(&lab, &["man", "one"]), 0);
    ends(&posternctl(&lab, &["man", "two"]), 0);
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(lab.path("one")).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy().into_owned();
        let read = |folder: &str| fs::read(lab.path(folder).join(&name)).expect("a page");
        assert_eq!(read("one"), read("two"), "{name}");
        pages.insert(name);
    }
    for verb in listed(&lab) {
        assert!(
            pages.contains(&format!("posternctl-{verb}.1")),
            "{verb}: {pages:?}"
        );
    }
    assert!(
        !pages.contains("posternctl-sign.1"),
        "a hidden verb is shown"
    );
}

#[test]
fn the_manifest_of_the_plugin_has_what_krew_asks_for() {
    let text = include_str!("../../../../deploy/krew/postern.yaml");
    let manifest: Value = serde_saphyr::from_str(text).expect("YAML");
    let at = |path: &str| {
        manifest
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    assert_eq!(
        at("/apiVersion"),
        "krew.googlecontainertools.github.com/v1alpha2"
    );
    assert_eq!(at("/kind"), "Plugin");
    // `kubectl krew` calls the program of the plugin `postern` kubectl-postern.
    assert_eq!(at("/metadata/name"), "postern");
    assert_eq!(at("/spec/version"), concat!("v", env!("CARGO_PKG_VERSION")));
    let short = at("/spec/shortDescription");
    assert!(
        !short.is_empty() && short.len() <= 50 && !short.ends_with('.'),
        "{short}"
    );
    for field in ["/spec/description", "/spec/homepage", "/spec/caveats"] {
        assert!(!at(field).is_empty(), "{field}");
    }
    let platforms = manifest["spec"]["platforms"].as_array().expect("platforms");
    assert_eq!(platforms.len(), 2);
    for platform in platforms {
        let labels = &platform["selector"]["matchLabels"];
        let word = |key: &str| labels[key].as_str().unwrap_or_default().to_uppercase();
        let suffix = format!("{}_{}", word("os"), word("arch"));
        assert_eq!(platform["uri"], format!("URI_{suffix}"));
        assert_eq!(platform["sha256"], format!("SHA256_{suffix}"));
        assert_eq!(platform["bin"], "kubectl-postern");
        let files = platform["files"].as_array().expect("files");
        assert!(files.iter().any(|file| file["from"] == platform["bin"]));
    }
    let verbs = listed(&Lab::new());
    for verb in [
        "install",
        "status",
        "doctor",
        "graph",
        "explain",
        "approve",
        "uninstall",
    ] {
        assert!(
            verbs.contains(verb) && at("/spec/description").contains(verb),
            "{verb}"
        );
    }
}
