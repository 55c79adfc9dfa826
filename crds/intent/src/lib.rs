//! The signed document that tells one node what to do.
//!
//! The bytes that were signed are the bytes that are parsed: a [`DsseEnvelope`] (DSSE) carries the
//! gzip of a JSON document, [`verify`] is the only maker of a [`Verified`] one, and a node acts on a [`Body`]: its own
//! document joined with the one that all nodes read.
//!
//! | module | for |
//! |---|---|
//! | [`newtypes`] | newtypes that state their rule: names, marks, prefixes, serials |
//! | [`name_pattern`] | names that a rule allows |
//! | [`body`] | the document itself, section by section |
//! | [`credential`] | credentials of external exits, encrypted to one node |
//! | [`keys`] | key ids, key sets and the documents that change them |
//! | [`envelope`] | DSSE: what is signed, what is shipped |
//! | [`possession`] | a node proves that the private half of its WireGuard key is its own |
//! | [`special_use`] | destinations that need an exception |
//! | [`published`] | what a person reads of what is published |
//! | [`sign`] | what the operator does |
//! | [`verify`] | what the agent does, and every reason to refuse |

pub mod body;
pub mod credential;
pub mod envelope;
mod hex;
pub mod keys;
pub mod name_pattern;
pub mod newtypes;
pub mod possession;
pub mod published;
mod refusal;
pub mod sign;
pub mod special_use;
pub mod verify;

pub use body::{Body, ClusterDocument, NodeDocument};
pub use envelope::DsseEnvelope;
pub use hex::hex;
pub use keys::{KeyId, TrustedKeys};
pub use name_pattern::NamePattern;
pub use newtypes::{
    Address, BASELINE, ExitName, IfName, Mark, Namespace, NodeName, NodeUid, PodName, Prefix,
    ScopeId, SectionDigest, Serial, TableId, Uid, WgKey,
};
pub use verify::{DocumentRefusal, Verified};
