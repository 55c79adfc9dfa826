//! The three nft tables (inet, bridge, arp): changed by nft's own language, read back by its JSON listing.

mod decode;
mod element;
mod granted;
mod last_listing;
pub(crate) mod run;
mod sources;
mod table;

pub(crate) use last_listing::LastListing;
