//! What the forwarder adds to the time of its resolvers.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::{DnsCheck, DnsCheckError, DnsCheckReport, DnsVerdict};
use super::namespace::{alone, full_name};
use super::world::World;

fn measured(world: &World, pod: &str, names: &[&str]) -> Result<DnsCheckReport, DnsCheckError> {
    let check = DnsCheck {
        pod: pod.parse().unwrap(),
        names: names.iter().map(ToString::to_string).collect(),
        rounds: 10,
    };
    let (answer, found) = oneshot::channel();
    world.work.blocking_send((check, answer)).unwrap();
    found.blocking_recv().unwrap()
}

#[test]
fn both_ways_are_measured_with_the_same_names_and_a_bound_that_is_exceeded_is_reported() {
    alone(
        full_name!(
            "both_ways_are_measured_with_the_same_names_and_a_bound_that_is_exceeded_is_reported"
        ),
        || {
            let world = World::new();
            let report = measured(&world, "10.244.1.2", &["a.example.com", "b.example.com"]);
            let report = report.unwrap();
            let cost = report.cost;
            assert_eq!(
                (cost.forwarder.answered, cost.upstream.answered),
                (20, 20),
                "{report:?}"
            );
            assert_eq!((cost.forwarder.missed, cost.upstream.missed), (0, 0));
            // Twenty by each way, and two before.
            assert_eq!(world.outside.asked().len(), 42);
            let verdict = DnsVerdict::of(report.clone(), Duration::from_secs(1));
            assert!(
                verdict.holds && verdict.to_string().contains("holds: "),
                "{verdict}"
            );
            let mut slow = report;
            slow.cost.forwarder.p99 = slow.cost.upstream.p99 + 50_001;
            let verdict = DnsVerdict::of(slow, Duration::from_millis(50));
            assert!(
                !verdict.holds && verdict.to_string().contains("does not hold"),
                "{verdict}"
            );
        },
    );
}

#[test]
fn what_is_not_asked_outside_for_this_pod_is_not_measured() {
    alone(
        full_name!("what_is_not_asked_outside_for_this_pod_is_not_measured"),
        || {
            let world = World::new();
            for (pod, names, wanted) in [
                (
                    "10.244.3.2",
                    &["example.com"][..],
                    "serves no pod with the address",
                ),
                (
                    "10.244.1.2",
                    &["api.default.svc.cluster.local"],
                    "is not asked",
                ),
                ("10.244.1.2", &["a..b"], "is no name"),
                ("10.244.1.2", &[], "no name was given"),
            ] {
                let error = measured(&world, pod, names).unwrap_err().to_string();
                assert!(error.contains(wanted), "{error}");
            }
            assert_eq!(world.outside.asked(), []);
        },
    );
}
