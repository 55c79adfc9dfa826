//! What an API server will be given: definitions, rules, bounds, defaults, and what this crate says about objects.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod bounds;
mod case_files;
mod conditions;
mod generated;
mod honoured;
mod openapi;
mod render;
mod rules;
mod samples;
mod selector;
