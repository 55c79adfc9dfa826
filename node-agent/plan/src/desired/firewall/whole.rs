//! Both tables, put together.

use std::collections::BTreeMap;

use postern_intent::body::Body;

use super::{binding, exit_side, guard, last, names, origin, scope, sets, steer, translate};
use crate::desired::{ClusterView, Inputs, classify::Classes};
use crate::ruleset::{Base, BaseKind, Chain, Hook, Otherwise, Rule, Ruleset, Table};

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

/// Both tables for these inputs.
pub(in crate::desired) fn ruleset(
    inputs: &Inputs<'_>,
    cluster: &ClusterView,
    classes: &Classes,
) -> Ruleset {
    let context = Context {
        inputs,
        cluster,
        classes,
    };
    let mut chains = Chains::default();
    origin::chains(&context, &mut chains);
    steer::chains(&context, &mut chains);
    guard::chains(&context, &mut chains);
    scope::chains(&context, &mut chains);
    exit_side::chains(&context, &mut chains);
    last::chains(&context, &mut chains);
    translate::chains(&context, &mut chains);
    let mut sets = sets::fixed(&context);
    sets.extend(sets::keyed(&context));
    Ruleset {
        inet: Table {
            counters: names::COUNTERS.into_iter().collect(),
            sets,
            chains: chains.0,
        },
        bridge: binding::table(inputs.bindings),
    }
}
