//! Real clients, real sockets, a node of the test's own.

mod cases;
mod dig;
mod namespace;
mod resolver;
mod world;
