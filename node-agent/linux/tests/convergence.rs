//! What the planner plans, the kernel takes, and then there is nothing left to plan: on every way between the bodies of
//! the planner's own fixture.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::collections::BTreeSet;

use namespace::{host, node_key, within};
use postern_host::{apply, observe};
use postern_host_testing::fixture::{OwnedInputs, client, gateway};
use postern_intent::Body;
use postern_linux::LinuxHost;
use postern_plan::diff::learned::Learned;
use postern_plan::order::{ArpTables, PlanContext, Stage, StepPlan, TableChange, plan};
use postern_plan::{Desired, Step};

/// A node on the way from one body to the next.
struct Node {
    host: LinuxHost,
    learned: Learned,
}

impl Node {
    /// There is no tunnel process here, so devices stay without a configuration.
    async fn plan(&self, desired: &Desired) -> StepPlan {
        let observed = observe(&self.host).await.whole().unwrap();
        let own_key = node_key().public().unwrap();
        let planning = PlanContext {
            tables: TableChange::Edited,
            arp: ArpTables::Supported,
            learned: &self.learned,
            own_key: &own_key,
        };
        let mut plan = plan(desired, &observed, &planning);
        plan.stages.retain(|(stage, _)| *stage != Stage::Tunnel);
        plan
    }

    async fn goes_to(&mut self, body: Option<Body>) {
        let desired = Desired::from_inputs(&OwnedInputs::of(body).inputs());
        let steps: Vec<Step> = self.plan(&desired).await.steps().cloned().collect();
        let applied = apply(&self.host, &steps).await;
        let failed = applied.failed.map(|failed| {
            format!(
                "{}: {}: {}",
                failed.step,
                failed.error,
                failed.error.cause()
            )
        });
        assert_eq!(failed, None);
        let filled = applied.done.iter().flat_map(|step| match step {
            Step::Firewall(transaction) => transaction.fills(),
            _ => BTreeSet::new(),
        });
        let listed = observe(&self.host).await.firewall.unwrap();
        self.learned.learn(&filled.collect(), &listed);
        assert_eq!(
            self.plan(&desired).await,
            StepPlan::default(),
            "the kernel is as desired"
        );
    }
}

fn way(bodies: impl FnOnce() -> Vec<Option<Body>> + Send + 'static) {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node {
            host: host(folder.path()).await,
            learned: Learned::default(),
        };
        for body in bodies() {
            node.goes_to(body).await;
        }
    });
}

#[test]
fn a_node_seals_without_an_intent() {
    way(|| vec![None]);
}

#[test]
fn a_node_becomes_a_client_and_stops_being_one() {
    way(|| vec![None, Some(client()), None, Some(client())]);
}

#[test]
fn a_client_becomes_a_gateway_and_back() {
    way(|| {
        vec![
            Some(client()),
            Some(gateway(&["203.0.113.10"])),
            Some(client()),
        ]
    });
}

#[test]
fn a_gateway_changes_how_it_translates() {
    way(|| {
        vec![
            Some(gateway(&[])),
            Some(gateway(&["203.0.113.10", "2001:db8:ffff::10"])),
            Some(gateway(&[])),
        ]
    });
}
