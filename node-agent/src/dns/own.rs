//! The node's own resolvers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use postern_plan::desired::is_public;

/// Those that stand in a file of the form of resolv.conf(5) and have public addresses: what is private to the node's
/// network means something else at a gateway elsewhere. A file that cannot be read names none.
#[must_use]
pub fn node_resolvers(file: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    parse(&text)
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().map(str::split_whitespace);
    lines
        .filter_map(|mut words| match words.next() {
            Some("nameserver") => words.next()?.parse::<IpAddr>().ok(),
            _ => None,
        })
        .filter(is_public)
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_resolvers_with_public_addresses_are_taken() {
        let text = "# by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 10.0.0.2\n\
            nameserver 169.254.169.253\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\nnameserver 2620:fe::fe\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["9.9.9.9:53", "[2620:fe::fe]:53"]);
    }
}
