//! Writes `crds/yaml/*.yaml` and `docs/api.md`; a test compares them.

use std::path::PathBuf;

#[path = "../tests/api/render.rs"]
mod render;

fn main() -> Result<(), WriteError> {
    for (path, text) in render::render()? {
        std::fs::write(&path, text).map_err(|source| WriteError::File {
            path: path.clone(),
            source,
        })?;
        println!("{}", path.display());
    }
    Ok(())
}

/// What could not be written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// Nothing to write.
    #[error(transparent)]
    Render(#[from] render::RenderError),
    /// The file.
    #[error("writing {}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
