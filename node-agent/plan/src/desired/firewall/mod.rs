//! Our tables, chain by chain. Base chains in the order in which a packet meets them:
//!
//! | hook | priority | chain | for |
//! |---|---|---|---|
//! | bridge prerouting | -300 | `origin` | a port speaks for its own pod only |
//! | arp input | -300 | `asked` | silence for tunnel addresses on every link |
//! | prerouting | -310 | `origin` | where a packet may come from |
//! | prerouting | -115 | `dns` | port 53 of selected pods to the forwarder, before kube-proxy's -110 and -100 |
//! | prerouting | -90 | `steer` | marks, after DNAT |
//! | input | -5 | `no_service` | silence for egress and tunnel addresses |
//! | output | -5 | `local_out` | tunnel endpoints are for our own sockets |
//! | forward | -5 | `guard` | the guard |
//! | postrouting | 80 | `last` | the same once more, for what never passes forward |
//! | postrouting | 90 | `translate` | source NAT, before the CNI's and kube-proxy's 100 |
//! | postrouting | 110 | `source` | the source that really leaves |
//! | postrouting | 120 | `isolation` | on an isolated node: nothing leaves but by its uplink |

mod admin;
mod arp;
mod binding;
mod context;
mod exit_side;
mod guard;
mod isolation;
mod last;
mod limits;
pub mod names;
mod origin;
mod record_point;
mod records;
mod ruleset;
mod scope;
mod sets;
mod steer;
mod translate;

pub(crate) use guard::holds;
pub use limits::limit_of;
pub use record_point::{RecordGround, RecordPoint, RecordPoints, RecordStage};
pub(crate) use records::is_record;
pub(super) use ruleset::ruleset;
