//! The rules, one module each.

mod all;
mod circles;
mod comments;
mod documents;
mod errors;
mod files;
mod floors;
mod layout;
mod links;
mod machine;
mod maps;
mod names;
mod orphans;
mod purity;
mod tables;
mod tests;
mod unused;

pub use all::check_all;
