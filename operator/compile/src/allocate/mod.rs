//! Numbers: ports, networks, host numbers, names, marks. What is published keeps its number, and a number that was
//! given back is not given again while any published document still mentions it.

mod exits;
mod hosts;
mod marks;
mod names;
mod network;

pub(crate) use exits::{ExitNumbers, Numbers};
pub(crate) use hosts::Hosts;
pub(crate) use marks::{Marks, table};
pub(crate) use network::Networks;
