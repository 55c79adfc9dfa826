//! The differences between what the host should look like and what it looks like, noun by noun. Each function is a
//! pair of set differences: what goes, what comes.

pub mod firewall;
pub mod flow;
pub mod learned;
pub mod link;
pub mod lock;
pub mod route;
pub mod table_state;
pub mod tunnel;
