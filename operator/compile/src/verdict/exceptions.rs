//! Exceptions for special-use destinations that the exit does not offer: the policy allows packets that the gateway
//! refuses.

use postern_intent::Prefix;
use postern_intent::special_use::{EMBEDDINGS, SPECIAL4, SPECIAL6};

/// The exceptions that no route of the exit covers. A gateway offers special use only where a route lies inside such a
/// range: a route for everything names none. O(exceptions · routes).
pub(super) fn unoffered<'a>(exceptions: &'a [Prefix], routes: &[Prefix]) -> Vec<&'a Prefix> {
    let special: Vec<Prefix> = SPECIAL4
        .iter()
        .chain(&SPECIAL6)
        .chain(&EMBEDDINGS)
        .filter_map(|range| range.parse().ok())
        .collect();
    let contains = |range: &Prefix, other: &Prefix| range.net().contains(&other.net());
    let named = |route: &&Prefix| special.iter().any(|range| contains(range, route));
    let named: Vec<&Prefix> = routes.iter().filter(named).collect();
    exceptions
        .iter()
        .filter(|exception| !named.iter().any(|route| contains(route, exception)))
        .collect()
}

#[cfg(test)]
mod tests {
    use postern_intent::Prefix;

    use super::unoffered;

    fn prefixes(list: &[&str]) -> Vec<Prefix> {
        let parse = |text: &&str| text.parse().expect("a prefix");
        list.iter().map(parse).collect()
    }

    #[test]
    fn an_exception_needs_a_route_inside_a_special_range_that_covers_it() {
        let exceptions = prefixes(&["169.254.169.254/32", "fe80::1/128"]);
        let missing = |routes: &[&str]| unoffered(&exceptions, &prefixes(routes)).len();
        assert_eq!(missing(&["0.0.0.0/0", "::/0"]), 2);
        assert_eq!(missing(&["0.0.0.0/0", "169.254.169.254/32", "::/0"]), 1);
        assert_eq!(missing(&["169.254.0.0/16", "fe80::/10"]), 0);
        assert_eq!(missing(&["169.254.169.253/32"]), 2);
    }
}
