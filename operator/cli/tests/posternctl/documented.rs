//! Commands that documents show are commands that the program has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use posternctl::verbs::Cli;

fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let entries = fs::read_dir(root.join("docs")).expect("the documents");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let pages = paths.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let all = pages.chain([root.join("README.md")]);
    all.map(|path| (path.clone(), fs::read_to_string(&path).expect("a page")))
        .collect()
}

/// The lines of a page's shell blocks that call the program, without their comments.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let blocks = page
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"));
    let lines = blocks.flat_map(|(block, _)| block.lines());
    let own = lines.filter(|line| line.starts_with("posternctl "));
    own.map(|line| line.split('#').next().unwrap_or_default().trim())
}

#[test]
fn every_command_in_a_shell_block_of_a_page_is_understood() {
    let mut count = 0;
    for (path, page) in pages() {
        for line in commands(&page) {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{}: {line}: {parsed:?}", path.display());
            count += 1;
        }
    }
    assert!(count > 10, "{count} commands were found");
}

#[test]
fn every_verb_that_a_page_names_in_its_text_exists() {
    let command = Cli::command();
    let verbs: BTreeSet<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    for (path, page) in pages() {
        for span in page
            .split('`')
            .filter(|span| span.starts_with("posternctl "))
        {
            let verb = span.split_whitespace().nth(1).unwrap_or_default();
            assert!(verbs.contains(verb), "{}: {span}", path.display());
        }
    }
}
