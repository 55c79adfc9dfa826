//! The claims of the demo: what it should see, and what it saw.

use std::fmt::Display;

use serde::Serialize;

/// One sentence and its check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    pub what: String,
    /// What should be seen.
    pub should: String,
    pub was: String,
    pub holds: bool,
}

/// The claims of a demo in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Claims {
    pub list: Vec<Claim>,
}

impl Claims {
    /// Something should be exactly this.
    pub(crate) fn equal(&mut self, what: impl Display, should: impl Display, was: impl Display) {
        let (should, was) = (should.to_string(), was.to_string());
        let holds = should == was;
        self.list.push(Claim {
            what: what.to_string(),
            should,
            was,
            holds,
        });
    }

    /// Something should have been counted at least once.
    pub(crate) fn some(&mut self, what: impl Display, count: u64) {
        let (what, holds) = (what.to_string(), count > 0);
        self.list.push(Claim {
            what,
            should: "> 0".to_owned(),
            was: count.to_string(),
            holds,
        });
    }

    /// Whether every claim holds.
    #[must_use]
    pub fn hold(&self) -> bool {
        self.list.iter().all(|claim| claim.holds)
    }
}

#[cfg(test)]
mod tests {
    use super::Claims;

    #[test]
    fn one_claim_that_does_not_hold_is_enough() {
        let mut claims = Claims::default();
        claims.equal("leaked", 0, 0);
        claims.some("arrived", 5);
        assert!(claims.hold());
        claims.some("arrived", 0);
        assert!(!claims.hold());
    }
}
