//! The firewall as a value that prints itself.
//!
//! A [`Ruleset`] is three tables; [`model`] has its nouns, [`rule`] what a rule says, [`meaning`] which part of a policy it comes from, [`element`] what sets and maps
//! hold, [`limit`] what counts sources, [`edit`] has the commands that change tables, [`transaction`] is one atomic change, and [`print`] writes nft's language.

pub mod edit;
pub mod element;
pub mod limit;
pub mod literal;
pub mod meaning;
pub mod model;
pub mod print;
pub mod rule;
pub mod transaction;

pub use edit::{Edit, NftCommand};
pub use element::{Atom, Data, Element};
pub use limit::{LimitMeasure, SourceCount, SourceLimit};
pub use meaning::RuleMeaning;
pub use model::{
    Base, BaseKind, Chain, Hook, KeyType, Opening, Otherwise, Ruleset, Set, SetFlag, SetType,
    TABLE, Table, TableFamily, ValueType,
};
pub use rule::{
    Counter, FirewallRule, FlowLifetime, Match, MatchField, Operand, RECORD_GROUP, RECORDED_BYTES,
    RECORDS_PER_SECOND, Target,
};
pub use transaction::{Grant, Transaction};
