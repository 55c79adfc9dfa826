//! The settings in force, and what was refused since.

use std::sync::Arc;

use postern_compile::snapshot::CompilerSettings;

/// The settings in force, and why those of the file are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownSettings {
    /// What is in force: the last file that was not refused.
    pub in_force: Arc<CompilerSettings>,
    /// Why the file as it is now is refused; none: it is in force.
    pub refused: Option<Arc<str>>,
}

impl From<CompilerSettings> for KnownSettings {
    fn from(settings: CompilerSettings) -> Self {
        Self {
            in_force: Arc::new(settings),
            refused: None,
        }
    }
}
