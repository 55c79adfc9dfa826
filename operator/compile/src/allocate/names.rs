//! Interface names: a prefix that says whose it is and the exit's name, cut to what the kernel takes.

use std::collections::BTreeSet;

use postern_intent::{ExitName, IfName};
use sha2::{Digest as _, Sha256};

/// `IFNAMSIZ` is 16 with the closing zero byte (linux/if.h).
const LONGEST: usize = 15;

/// Hex digits of the suffix that tells cut names apart.
const SUFFIX: usize = 5;

/// What follows `pst-c-`, `pst-s-` and `pst-x-` for an exit: its name, or its beginning and a hash. `taken` are the stems of
/// other exits.
pub(crate) fn stem(exit: &ExitName, taken: &BTreeSet<String>) -> String {
    let room = LONGEST - "pst-c-".len();
    let name = exit.as_str();
    // A dot separates path components of sysctl names, so a device with one in its name cannot be set up by name.
    if name.len() <= room && !name.contains('.') && !taken.contains(name) {
        return name.to_owned();
    }
    let beginning: String = name
        .chars()
        .filter(|c| *c != '.')
        .take(room - SUFFIX - 1)
        .collect();
    (0u32..)
        .map(|attempt| {
            let hash = Sha256::digest(format!("{name}\n{attempt}").as_bytes());
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{beginning}-{}", hex.get(..SUFFIX).unwrap_or_default())
        })
        .find(|stem| !taken.contains(stem))
        .unwrap_or_default()
}

/// The device by which pods of a client node leave.
pub(crate) fn used(stem: &str) -> Option<IfName> {
    format!("pst-c-{stem}").parse().ok()
}

/// The device by which clients arrive at a gateway.
pub(crate) fn served(stem: &str) -> Option<IfName> {
    format!("pst-s-{stem}").parse().ok()
}

/// The device by which a gateway reaches the server of an external exit.
pub(crate) fn external(stem: &str) -> Option<IfName> {
    format!("pst-x-{stem}").parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{stem, used};

    #[test]
    fn a_short_name_is_kept() {
        assert_eq!(stem(&"eu".parse().expect("a name"), &BTreeSet::new()), "eu");
    }

    #[test]
    fn long_names_with_one_beginning_get_different_stems_that_fit() {
        let [a, b] = ["frankfurt-1", "frankfurt-2"]
            .map(|name| stem(&name.parse().expect("a name"), &BTreeSet::new()));
        assert_ne!(a, b);
        assert!(used(&a).is_some() && used(&b).is_some());
    }

    #[test]
    fn a_taken_stem_is_not_given_again() {
        let taken = BTreeSet::from(["eu".to_owned()]);
        let other = stem(&"eu".parse().expect("a name"), &taken);
        assert_ne!(other, "eu");
        assert!(used(&other).is_some());
    }
}
