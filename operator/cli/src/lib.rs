//! The command line for people who run Postern, and the publisher that works on a folder of files.
//!
//! | module | for |
//! |---|---|
//! | [`files`] | a folder with manifests and reports in, signed envelopes out |
//! | [`keys`] | signing keys and trusted keys as PEM files |
//! | [`plan`] | what a body would change on its node |
//! | [`verbs`] | one file for each verb |
//! | [`output`] | tables for people, JSON and YAML for programs |

pub mod files;
pub mod keys;
pub mod output;
pub mod plan;
pub mod verbs;
