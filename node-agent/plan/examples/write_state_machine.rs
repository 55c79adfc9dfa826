//! Writes `docs/state-machine.md`; a test compares it.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/state-machine.md");
    std::fs::write(&path, postern_plan::machine::print::markdown())?;
    println!("{}", path.display());
    Ok(())
}
