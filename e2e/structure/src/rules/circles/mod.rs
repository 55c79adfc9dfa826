//! No import circle between the files of one target: a file that needs another one is not needed by it.
//!
//! A file imports another one when a `use` or a path in its code leads to an item that the other one defines; a
//! module that passes the item on with `pub use` does not count. Modules for unit tests do not count either.

mod graph;
mod judge;

pub(super) use judge::check;
