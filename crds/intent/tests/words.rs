//! What a body says is told to people in the body's own words.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use std::fmt::Display;

use postern_intent::body::{Access, BlockedReason, RuleProtocol};
use serde::de::DeserializeOwned;
use serde_json::json;

fn is_told<T: DeserializeOwned + Display>(words: &[&str]) {
    for word in words {
        let value: T = serde_json::from_value(json!(word)).unwrap();
        assert_eq!(value.to_string(), *word);
    }
}

#[test]
fn accesses_protocols_and_reasons_are_told_in_the_words_of_documents() {
    is_told::<Access>(&["Allow", "Deny"]);
    is_told::<RuleProtocol>(&["TCP", "UDP", "SCTP", "ICMP"]);
    is_told::<BlockedReason>(&["NoExit", "NoPeerKey", "PolicyRefused", "NamespaceDeny"]);
}
