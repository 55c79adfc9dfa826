//! The page about the settings is what the types say.

#[test]
fn the_committed_page_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == postern_operator::settings::markdown(),
        "run `cargo run -p postern-operator --example write_settings`"
    );
}
