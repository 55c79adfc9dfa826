//! Values that arguments are read into.

use std::time::Duration;

use jiff::SignedDuration;

use crate::lab::LabError;

pub(crate) fn positive(what: &'static str, value: SignedDuration) -> Result<Duration, LabError> {
    let why = "it must not be negative".to_owned();
    Duration::try_from(value).map_err(|_| LabError::Invalid {
        what,
        value: value.to_string(),
        why,
    })
}

/// A label that is written `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "write it as KEY=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
