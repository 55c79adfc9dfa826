//! A label selector that can be asked and remembered.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_crds::selector::{Selector as Parsed, SelectorError};
use serde::{Deserialize, Serialize};

use super::objects::Labels;

/// A valid label selector together with how it was written, so that it can be kept in [`super::CompilerMemory`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LabelSelector", into = "LabelSelector")]
pub struct ParsedSelector {
    written: LabelSelector,
    parsed: Parsed,
}

impl ParsedSelector {
    /// The selector that selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            written: LabelSelector::default(),
            parsed: Parsed::default(),
        }
    }

    /// Does it select an object with these labels?
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.parsed.matches(labels)
    }

    /// How it was written.
    #[must_use]
    pub const fn written(&self) -> &LabelSelector {
        &self.written
    }
}

impl TryFrom<LabelSelector> for ParsedSelector {
    type Error = SelectorError;
    fn try_from(written: LabelSelector) -> Result<Self, SelectorError> {
        let parsed = Parsed::parse(&written)?;
        Ok(Self { written, parsed })
    }
}

impl From<ParsedSelector> for LabelSelector {
    fn from(selector: ParsedSelector) -> Self {
        selector.written
    }
}
