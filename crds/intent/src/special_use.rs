//! Destinations that no policy reaches without an exception, as the schema judges exceptions and the agent refuses packets.

/// Special-use destinations (RFC 6890 and cloud metadata services), IPv4.
pub const SPECIAL4: [&str; 7] = [
    "0.0.0.0/8",
    "100.100.100.200/32",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
];

/// The same for IPv6, without the destinations that embed an IPv4 address ([`EMBEDDINGS`]). Two prefixes whose embedded
/// addresses no prefix can name are refused whole: Teredo (RFC 4380), which inverts them, and the prefix for local NAT64
/// (RFC 8215), where their place depends on the network.
pub const SPECIAL6: [&str; 8] = [
    "2001::/32",
    "64:ff9b:1::/48",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "fd00:ec2::254/128",
    "fe80::/10",
    "ff00::/8",
];

/// Prefixes in which an IPv4 address is embedded: NAT64 (RFC 6052) and 6to4 (RFC 3056). What embeds a special-use address
/// is special-use itself.
pub const EMBEDDINGS: [&str; 2] = ["64:ff9b::/96", "2002::/16"];
