//! What every part of the firewall is made from, and chains under construction.

use std::collections::BTreeMap;

use postern_intent::body::Body;

use crate::desired::{ClusterView, Inputs, classify::Classes};
use crate::ruleset::{Base, BaseKind, Chain, Hook, Otherwise, Rule};

/// What every part of the firewall is made from.
pub(super) struct Context<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) cluster: &'a ClusterView,
    pub(super) classes: &'a Classes,
}

impl<'a> Context<'a> {
    pub(super) fn body(&self) -> Option<&'a Body> {
        self.inputs.body
    }
}

/// Chains under construction.
#[derive(Default)]
pub(super) struct Chains(pub(super) BTreeMap<String, Chain>);

impl Chains {
    pub(super) fn base(
        &mut self,
        name: &str,
        kind: BaseKind,
        hook: Hook,
        priority: i32,
        rules: Vec<Rule>,
    ) {
        self.0.insert(
            name.to_owned(),
            Chain {
                base: Some(Base {
                    kind,
                    hook,
                    priority,
                    otherwise: Otherwise::Accept,
                }),
                rules,
            },
        );
    }

    pub(super) fn filter(&mut self, name: &str, hook: Hook, priority: i32, rules: Vec<Rule>) {
        self.base(name, BaseKind::Filter, hook, priority, rules);
    }

    pub(super) fn plain(&mut self, name: impl Into<String>, rules: Vec<Rule>) {
        self.0.insert(name.into(), Chain { base: None, rules });
    }
}
