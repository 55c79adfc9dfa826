//! The names that this process may open.

use std::{fmt, str::FromStr};

/// Prefixes of the agent's own tunnel interfaces: used (`c`, client) and served (`s`).
const PREFIXES: [&str; 3] = ["pst-c-", "pst-s-", "pst-x-"];

/// The kernel's `IFNAMSIZ` (16) without the closing NUL (`include/uapi/linux/if.h`).
const LONGEST: usize = 15;

/// The name of a tunnel interface of ours, for example `pst-c-berlin`.
///
/// It begins with `pst-c-`, `pst-s-` or `pst-x-`, has 7 to 15 bytes, and otherwise consists of lower-case
/// letters, digits and hyphens, so that it is also a safe file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelName(String);

/// Why a file name is not the name of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It does not begin with one of our prefixes.
    #[error("the name does not begin with pst-c-, pst-s- or pst-x-")]
    ForeignPrefix,
    /// Nothing follows the prefix.
    #[error("nothing follows the prefix")]
    Empty,
    /// The kernel would cut it.
    #[error("the name has {length} bytes, an interface name has at most 15")]
    TooLong {
        /// Length in bytes.
        length: usize,
    },
    /// A byte that is neither a lower-case letter, a digit nor a hyphen.
    #[error("the name holds {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
}

impl TunnelName {
    /// The name as the kernel knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TunnelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for TunnelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rest = PREFIXES
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .ok_or(NameError::ForeignPrefix)?;
        if rest.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > LONGEST {
            return Err(NameError::TooLong { length: text.len() });
        }
        match rest
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
        {
            Some(found) => Err(NameError::Character { found }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_of_used_and_served_tunnels() {
        for name in ["pst-c-berlin", "pst-x-vpn", "pst-s-0", "pst-c-123456789"] {
            assert_eq!(
                name.parse::<TunnelName>().map(|n| n.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn refuses_every_other_name_with_its_reason() {
        let refused = [
            ("eth0", NameError::ForeignPrefix),
            ("pst-y-a", NameError::ForeignPrefix),
            ("pst-c-", NameError::Empty),
            ("pst-c-1234567890", NameError::TooLong { length: 16 }),
            ("pst-c-../x", NameError::Character { found: '.' }),
            ("pst-c-a.tmp", NameError::Character { found: '.' }),
            ("pst-c-A", NameError::Character { found: 'A' }),
        ];
        for (name, reason) in refused {
            assert_eq!(name.parse::<TunnelName>(), Err(reason), "{name}");
        }
    }
}
