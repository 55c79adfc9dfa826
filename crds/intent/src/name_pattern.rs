//! Names that a rule allows, in one normal form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::newtypes::NewtypeError;

/// A DNS name, or `*.` and a name for every name below it at any depth, without the name itself.
///
/// The form is canonical: lower case, no dot at the end, IDN as A-labels (RFC 5890), at least two labels. The last label
/// begins with a letter, so that no address is a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

/// The prefix of a pattern that matches every name below its own.
const BELOW: &str = "*.";

/// The longest name in text without the dot at its end (RFC 1035, section 3.1: 255 bytes with the lengths and the root).
const LONGEST: usize = 253;
/// RFC 1035, section 3.1.
const LONGEST_LABEL: usize = 63;

impl NamePattern {
    /// The text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of which every name below is meant; none: the pattern is one name.
    #[must_use]
    pub fn below(&self) -> Option<&str> {
        self.0.strip_prefix(BELOW)
    }

    /// Does it mean this name, in canonical form?
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.below() {
            None => self.0 == name,
            Some(top) => {
                let above = name
                    .strip_suffix(top)
                    .and_then(|rest| rest.strip_suffix('.'));
                above.is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

fn is_canonical(text: &str) -> bool {
    let name = text.strip_prefix(BELOW).unwrap_or(text);
    let mut labels = name.rsplit('.');
    let last = labels.next().unwrap_or_default();
    let begins_with_letter = last.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    text.len() <= LONGEST
        && begins_with_letter
        && is_label(last)
        && labels.clone().next().is_some()
        && labels.all(is_label)
}

/// Names of services and of keys begin with `_` (RFC 8552).
fn is_label(label: &str) -> bool {
    let part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    !label.is_empty()
        && label.len() <= LONGEST_LABEL
        && label.bytes().all(part)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl TryFrom<String> for NamePattern {
    type Error = NewtypeError;

    fn try_from(value: String) -> Result<Self, NewtypeError> {
        if is_canonical(&value) {
            Ok(Self(value))
        } else {
            Err(NewtypeError::Name {
                kind: "name",
                value,
                rule: "at least two labels of lower case letters, digits, '-' and '_', with IDN as A-labels and without a dot at the end; '*.' before it means every name below",
            })
        }
    }
}

impl FromStr for NamePattern {
    type Err = NewtypeError;

    fn from_str(value: &str) -> Result<Self, NewtypeError> {
        Self::try_from(value.to_owned())
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> NamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_means_itself_and_a_star_every_depth_below_and_not_the_name() {
        assert!(pattern("example.org").matches("example.org"));
        assert!(!pattern("example.org").matches("www.example.org"));
        let below = pattern("*.example.org");
        for name in ["www.example.org", "a.b.c.example.org", "_x.example.org"] {
            assert!(below.matches(name), "{name}");
        }
        for name in [
            "example.org",
            "badexample.org",
            ".example.org",
            "org",
            "",
            "example.org.evil.net",
        ] {
            assert!(!below.matches(name), "{name}");
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let label = "a".repeat(64);
        let long = "abcdefghi.".repeat(26) + "org";
        for text in [
            "",
            "*",
            "*.",
            "org",
            "*.org.",
            "example.org.",
            "Example.org",
            "a..org",
            ".org",
            "-a.org",
            "a-.org",
            "a.*.org",
            "**.a.org",
            "*a.org",
            "192.0.2.1",
            "a b.org",
            "münchen.de",
            "a.org/x",
            &format!("{label}.org"),
            &long,
        ] {
            assert!(text.parse::<NamePattern>().is_err(), "{text:?}");
        }
        for text in [
            "*.co.uk",
            "xn--mnchen-3ya.de",
            "_sip._tcp.example.org",
            "a.xn--p1ai",
            "1.example.org",
        ] {
            assert!(text.parse::<NamePattern>().is_ok(), "{text:?}");
        }
    }
}
