//! How an error is printed: once, with its causes.

use std::error::Error;

/// An error and its causes on one line, outermost first.
///
/// Some libraries say their cause in their own words too: a cause that is in the text already is not said again.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error;

    use super::chain;

    #[derive(Debug, Error)]
    enum Sample {
        #[error("the report cannot be written")]
        Act(#[source] Box<Sample>),
        #[error("{source} on this disk")]
        Repeats { source: io::Error },
    }

    #[test]
    fn every_cause_is_said_once_and_in_its_order() {
        let inner = Sample::Repeats {
            source: io::Error::other("no room"),
        };
        let error = Sample::Act(Box::new(inner));
        assert_eq!(
            chain(&error),
            "the report cannot be written: no room on this disk"
        );
    }
}
