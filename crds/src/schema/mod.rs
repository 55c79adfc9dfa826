//! Bounded schemas of the values that several kinds share.
//!
//! The API server multiplies the estimated cost of a CEL rule by the largest list and string that the
//! schema allows, so every list and every string has a bound. A schema function states the bound,
//! the pattern and the rule once; a field names it with `#[schemars(schema_with = "...")]`.

pub mod address;
pub mod kubernetes;
pub mod text;
