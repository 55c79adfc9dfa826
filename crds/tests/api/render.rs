//! Renders what is generated and committed; shared by the example that writes it and the test that compares it.

use std::path::{Path, PathBuf};

/// What is said above the admission policies.
const HEADING: &str = "\
# Fields that this version does not honour are refused where they are written. Generated from the table of honoured
# fields, crds/src/honoured/table.rs, with `cargo run -p postern-crds --example write_yaml`; a test compares it.
";

/// Everything that is generated: where it lies and what it says.
pub(crate) fn render() -> Result<Vec<(PathBuf, String)>, RenderError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let definitions = postern_crds::definition::all().map_err(RenderError::Definition)?;
    let mut files = Vec::new();
    for definition in &definitions {
        let yaml =
            serde_saphyr::to_string(&definition.object).map_err(|source| RenderError::Yaml {
                kind: definition.kind,
                source,
            })?;
        files.push((root.join("yaml").join(definition.file_name()), yaml));
    }
    let mut policies = HEADING.to_owned();
    for object in postern_crds::honoured::admission_policies() {
        let yaml = serde_saphyr::to_string(&object).map_err(|source| RenderError::Yaml {
            kind: "the admission policies",
            source,
        })?;
        policies.push_str("---\n");
        policies.push_str(&yaml);
    }
    files.push((
        root.join("../deploy/base/admission/honoured-fields.yaml"),
        policies,
    ));
    let page = postern_crds::reference::markdown(&definitions);
    files.push((root.join("../docs/api.md"), page));
    Ok(files)
}

/// What could not be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// A definition has no JSON form.
    #[error("making the definitions")]
    Definition(#[source] serde_json::Error),
    /// A definition has no YAML form.
    #[error("writing {kind} as YAML")]
    Yaml {
        /// The kind.
        kind: &'static str,
        /// Why.
        #[source]
        source: serde_saphyr::ser_error::Error,
    },
}
