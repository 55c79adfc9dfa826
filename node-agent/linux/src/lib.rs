//! The only code that talks to the kernel: the ports of `postern-host` on Linux.
//!
//! Every socket and every program that is started belongs to the network namespace of the calling thread, so the
//! process (or, in tests, the thread) enters its namespace before it makes a [`LinuxHost`].
//!
//! | module | for |
//! |---|---|
//! | [`host`] | the host and its options |
//! | `netlink` | requests of any netlink family, by hand |
//! | `rtnl` | requests of the route family, by rtnetlink |
//! | `link`, `address`, `device`, `route`, `rule` | devices and where packets go |
//! | `egress`, `announcement` | egress addresses on uplinks, questions to neighbours and announcements |
//! | `uplink` | what the kernel forgets of a link that goes down, radios, sessions of others |
//! | `lock` | XFRM policies |
//! | `bypass`, `tcx` | ways past netfilter |
//! | `firewall` | nft: the runner, and what its listings say |
//! | `flow` | connection tracking |
//! | `packet_log` | packets of which the ruleset tells, by nflog |
//! | `tunnel` | WireGuard devices |
//! | [`survey`] | what others have on the node |
//! | [`watch`] | events: something changed, look again |

mod address;
mod announcement;
mod bypass;
mod device;
mod egress;
mod firewall;
mod flow;
pub mod host;
mod link;
mod lock;
mod netlink;
mod packet_log;
mod route;
mod rtnl;
mod rule;
mod second_interface;
pub mod survey;
mod tcx;
mod tunnel;
mod uplink;
pub mod watch;
mod wireguard_link;

pub use host::{BackendPreference, LinuxHost, LinuxOptions};
pub use packet_log::{PacketLogEvent, read_packet_log};
pub use tunnel::PrivateKey;
pub use watch::{KernelChange, watch};
