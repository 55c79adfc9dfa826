//! Versions as kernels, kubelets and API servers write them.

/// The first two numbers of a version such as `v1.37.2`, `6.18.5-generic` or `1.33+`.
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let digits = version.trim_start_matches('v');
    let mut parts = digits.split(|letter: char| !letter.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_of_kernels_and_kubernetes_are_read() {
        for (text, wanted) in [
            ("v1.37.2", Some((1, 37))),
            ("v1.33.1-eks-1de2ab1", Some((1, 33))),
            ("6.18.5-generic", Some((6, 18))),
            ("1.33+", Some((1, 33))),
            ("unknown", None),
        ] {
            assert_eq!(numbers(text), wanted, "{text}");
        }
    }
}
