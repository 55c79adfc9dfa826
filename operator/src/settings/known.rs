//! The settings in force, and what was refused since.

use std::sync::Arc;

use postern_compile::snapshot::Settings;

/// The settings in force, and why those of the file are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownSettings {
    /// What is in force: the last file that was not refused.
    pub in_force: Arc<Settings>,
    /// Why the file as it is now is refused; none: it is in force.
    pub refused: Option<Arc<str>>,
}

impl From<Settings> for KnownSettings {
    fn from(settings: Settings) -> Self {
        Self {
            in_force: Arc::new(settings),
            refused: None,
        }
    }
}
