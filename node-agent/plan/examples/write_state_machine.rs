//! Writes `docs/state-machine.md`; a test compares it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the crate is pure; this program for its page is not"
)]

use std::path::Path;

fn main() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/state-machine.md");
    std::fs::write(&path, postern_plan::machine::print::markdown())?;
    println!("{}", path.display());
    Ok(())
}
