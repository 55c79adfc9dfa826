//! A host in memory, for tests of code that uses the ports.
//!
//! # How far to believe it
//!
//! It knows these rules of the kernel; beside each is the case of the [contract](crate::contract), run on Linux too,
//! that taught it:
//!
//! | rule | case |
//! |---|---|
//! | a link that goes down loses its routes of every table, without an event, and its IPv6 addresses; up brings nothing back | `route::a_link_that_goes_down_loses_its_routes_of_every_table`, `link::a_link_that_goes_down_keeps_its_ipv4_and_loses_its_ipv6_addresses` |
//! | a link that is removed takes its routes along, unreachable ones stay | `route::a_link_that_is_removed_loses_its_routes` |
//! | a route needs a link that is up; a route of the same table, destination and metric is replaced | `route::a_route_into_a_link_that_is_down_is_refused`, `route::adding_a_route_twice_replaces_it` |
//! | rules, links, addresses and XFRM policies cannot be added twice; policies are identified by selector and mark | `*::…cannot_be_added_twice…` |
//! | what is not there cannot be removed, each noun with its own error number | `*::removing_…_that_is_not_there_is_refused` |
//! | a persistent TUN has a carrier while it is served, and stays without | `link::a_tunnel_that_nobody_serves_has_no_carrier` |
//! | switches exist with their device | `link::a_switch_of_a_missing_device_is_missing` |
//! | a batch of nft is taken whole or not at all; names must exist; what is in use cannot be deleted; other data for a key is refused | `firewall::*` |
//! | a flush of nft leaves the XFRM policies | `lock::a_lock_holds_when_somebody_flushes_the_firewall` |
//! | a tunnel that is not served does not answer | `tunnel::*` |
//!
//! It does **not** know: packets and counters (they stay 0), time (a lease stays until
//! [`FakeHost::expires_the_lease`]), what expressions mean (a rule is its text), overlapping intervals, which families
//! and hooks an expression is allowed in, ways past netfilter other than those that a test names
//! ([`FakeHost::has_bypass`]), neighbours and the ends of egress addresses, limits and permissions, prefix routes of addresses, link-local addresses, and any other
//! thing that is not in the table above.

mod egress;
mod fault;
mod firewall;
mod flow;
mod flow_entry;
mod host;
mod link;
mod lock;
mod loopback;
mod nft;
mod path;
mod route;
mod tunnel;
mod tunnel_process;
mod uplink;

pub use fault::{Call, ProgramDied};
pub use flow_entry::Flow;
pub use host::FakeHost;
