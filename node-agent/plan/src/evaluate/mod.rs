//! What a ruleset does with a packet, computed from the ruleset's value: the kernel's netfilter without a kernel.
//!
//! | module | for |
//! |---|---|
//! | `packet` | a packet with its interfaces, marks and conntrack facts |
//! | `matching` | does a rule's match hold for a packet |
//! | `hook` | one hook: base chains in the order of their priority, jumps, verdicts |
//! | `path` | a packet's whole way through a node |
//!
//! The evaluator knows the semantics that our rules use and no others (nft(8), "STATEMENTS" and "EXPRESSIONS"):
//!
//! * a field that the packet does not have matches nothing, whether it is compared for equality or for difference: nft puts
//!   the family and the protocol before it (`ip saddr` before an IPv6 packet);
//! * `accept` ends a base chain and not the hook, `drop` and `reject` end everything;
//! * a NAT chain sees the first packet of a flow only, in its original direction, and no packet without a conntrack entry.
//!
//! What it does not know: fragments, connection tracking itself (its facts are given), routing (the outgoing interface is
//! given), and what other programs' tables do.

mod hook;
mod matching;
mod packet;
mod path;

pub use hook::{Evaluator, Fate, HookOutcome, SourceRewrite, Trace};
pub use matching::{Grants, KeptFlows, Leases};
pub use packet::{Conntrack, CtDirection, CtState, Frame, Packet, Payload, Transport};
pub use path::{Hop, Passage, PathEnd};
