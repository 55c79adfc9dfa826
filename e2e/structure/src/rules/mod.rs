//! The rules, one module each.

mod circles;
mod comments;
mod documents;
mod errors;
mod every_rule;
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
mod types;
mod unused;

pub use every_rule::check_all;
