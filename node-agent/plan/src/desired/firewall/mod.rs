//! Both tables, chain by chain. Base chains in the order in which a packet meets them:
//!
//! | hook | priority | chain | for |
//! |---|---|---|---|
//! | bridge prerouting | -300 | `origin` | a port speaks for its own pod only |
//! | prerouting | -310 | `origin` | where a packet may come from |
//! | prerouting | -110 | `dns` | port 53 of selected pods to the forwarder, before kube-proxy's -100 |
//! | prerouting | -90 | `steer` | marks, after DNAT |
//! | input | -5 | `no_service` | silence for egress and tunnel addresses |
//! | output | -5 | `local_out` | tunnel endpoints are for our own sockets |
//! | forward | -5 | `guard` | the guard |
//! | postrouting | 80 | `last` | the same once more, for what never passes forward |
//! | postrouting | 90 | `translate` | source NAT, before the CNI's and kube-proxy's 100 |
//! | postrouting | 110 | `source` | the source that really leaves |

mod binding;
mod exit_side;
mod guard;
mod last;
pub mod names;
mod origin;
mod scope;
mod sets;
mod steer;
mod translate;

use std::collections::BTreeMap;

use postern_intent::body::Body;

use super::{ClusterView, Inputs, classify::Classes};
use crate::ruleset::{Base, BaseKind, Chain, Hook, Rule, Ruleset, Table};

/// What every part of the firewall is made from.
struct Context<'a> {
    inputs: &'a Inputs<'a>,
    cluster: &'a ClusterView,
    classes: &'a Classes,
}

impl<'a> Context<'a> {
    fn body(&self) -> Option<&'a Body> {
        self.inputs.body
    }
}

/// Chains under construction.
#[derive(Default)]
struct Chains(BTreeMap<String, Chain>);

impl Chains {
    fn base(&mut self, name: &str, kind: BaseKind, hook: Hook, priority: i32, rules: Vec<Rule>) {
        self.0.insert(
            name.to_owned(),
            Chain {
                base: Some(Base {
                    kind,
                    hook,
                    priority,
                }),
                rules,
            },
        );
    }

    fn filter(&mut self, name: &str, hook: Hook, priority: i32, rules: Vec<Rule>) {
        self.base(name, BaseKind::Filter, hook, priority, rules);
    }

    fn plain(&mut self, name: impl Into<String>, rules: Vec<Rule>) {
        self.0.insert(name.into(), Chain { base: None, rules });
    }
}

/// Both tables for these inputs.
pub(super) fn ruleset(inputs: &Inputs<'_>, cluster: &ClusterView, classes: &Classes) -> Ruleset {
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
