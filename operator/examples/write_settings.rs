//! Writes `docs/settings.md`; a test compares it.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    std::fs::write(path, postern_operator::settings::markdown())?;
    println!("{path}");
    Ok(())
}
