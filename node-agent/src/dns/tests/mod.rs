//! Real clients, real sockets, a node of the test's own.

mod answers;
mod check;
mod circuits;
mod dig;
mod filtered;
mod namespace;
mod refusals;
mod resolver;
mod world;
