//! The rules, one module each.

mod all;
mod booleans;
mod documents;
mod files;
mod floors;
mod functions;
mod links;
mod machine;
mod maps;
mod names;
mod orphans;
mod purity;
mod tables;
mod unused;

pub use all::check_all;
