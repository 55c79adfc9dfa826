//! What every part of the firewall is made from, and chains under construction.

use std::collections::BTreeMap;

use postern_intent::body::Body;

use super::record_point::RecordPoints;
use crate::desired::{ClusterView, PlanInputs, classify::Classes};
use crate::ruleset::{
    Base, BaseKind, Chain, FirewallRule, Hook, Opening, Otherwise, RuleMeaning, Target,
};

/// What every part of the firewall is made from.
pub(super) struct FirewallContext<'a> {
    pub(super) inputs: &'a PlanInputs<'a>,
    pub(super) cluster: &'a ClusterView,
    pub(super) classes: &'a Classes,
}

impl<'a> FirewallContext<'a> {
    pub(super) fn body(&self) -> Option<&'a Body> {
        self.inputs.body
    }
}

#[derive(Default)]
pub(super) struct Chains {
    pub(super) by_name: BTreeMap<String, Chain>,
    /// What the chains record.
    pub(super) records: RecordPoints,
}

impl Chains {
    pub(super) fn base(
        &mut self,
        name: &str,
        kind: BaseKind,
        hook: Hook,
        priority: i32,
        rules: Vec<FirewallRule>,
    ) {
        self.by_name.insert(
            name.to_owned(),
            Chain {
                base: Some(Base {
                    kind,
                    hook,
                    priority,
                    otherwise: Otherwise::Accept,
                }),
                rules,
                opening: Opening::Nothing,
            },
        );
    }

    pub(super) fn filter(
        &mut self,
        name: &str,
        hook: Hook,
        priority: i32,
        rules: Vec<FirewallRule>,
    ) {
        self.base(name, BaseKind::Filter, hook, priority, rules);
    }

    pub(super) fn plain(&mut self, name: impl Into<String>, rules: Vec<FirewallRule>) {
        let chain = Chain {
            rules,
            ..Chain::default()
        };
        self.by_name.insert(name.into(), chain);
    }

    /// A chain that lets a pod send whatever the node itself would let through.
    pub(super) fn releasing(&mut self, name: &str) {
        let chain = Chain {
            base: None,
            rules: vec![FirewallRule::to(Target::Accept).meaning(RuleMeaning::Released)],
            opening: Opening::Released,
        };
        self.by_name.insert(name.to_owned(), chain);
    }
}
