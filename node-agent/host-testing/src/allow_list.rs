//! What a run may leave unproved: `e2e/allow-list.txt`, which `make test` prints.

const LIST: &str = include_str!("../../../e2e/allow-list.txt");

/// A case cannot be shown here for want of this capability. It fails, unless the list names the capability.
///
/// # Panics
/// When the list does not name it.
pub fn absent(capability: &str) {
    assert!(
        names(LIST, capability),
        "{capability} is absent here, and e2e/allow-list.txt does not allow that"
    );
}

fn names(list: &str, capability: &str) -> bool {
    let mut lines = list.lines();
    lines.any(|line| {
        line.split_once(": ")
            .is_some_and(|(name, _)| name == capability)
    })
}

#[cfg(test)]
mod cases {
    use super::{absent, names};

    #[test]
    #[should_panic(expected = "radios is absent here")]
    fn a_capability_that_is_not_in_the_list_fails_its_case() {
        absent("radios");
    }

    #[test]
    fn a_capability_is_named_by_the_word_before_the_reason() {
        let list = "# radios: a comment\nkernel-wireguard: why\n";
        assert!(names(list, "kernel-wireguard"));
        assert!(!names(list, "radios") && !names(list, "why") && !names(list, "kernel"));
    }
}
