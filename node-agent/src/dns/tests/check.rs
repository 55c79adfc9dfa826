//! What the forwarder adds to the time of its resolvers.

use std::time::{Duration, Instant};

use postern_control::dns_check::{DnsCheck, DnsCheckReport, DnsVerdict};
use postern_intent::body::TermsDnsMode;
use postern_plan::desired::dns::DnsEntry;
use tokio::sync::oneshot;

use super::super::{DnsCheckError, QuestionOutcome};
use super::namespace::{alone, full_name};
use super::world::{World, entry};

type Measured = Result<DnsCheckReport, DnsCheckError>;

fn measured(world: &World, pod: &str, names: &[&str]) -> Measured {
    asked(world, pod, names).blocking_recv().unwrap()
}

fn asked(world: &World, pod: &str, names: &[&str]) -> oneshot::Receiver<Measured> {
    let check = DnsCheck {
        pod: pod.parse().unwrap(),
        names: names.iter().map(ToString::to_string).collect(),
        rounds: 10,
    };
    let (answer, found) = oneshot::channel();
    world.work.blocking_send((check, answer)).unwrap();
    found
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
                    "is a name of the cluster",
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

#[test]
fn a_refusal_says_whether_name_resolver_or_node_is_the_reason() {
    alone(
        full_name!("a_refusal_says_whether_name_resolver_or_node_is_the_reason"),
        || {
            let world = World::new();
            let filtering = DnsEntry {
                mode: TermsDnsMode::Filter,
                ..entry()
            };
            world.set(&filtering);
            let refused = |wanted: DnsCheckError| {
                let error = measured(&world, "10.244.1.2", &["example.com"]).unwrap_err();
                assert_eq!(error, wanted);
            };
            let name = "example.com".to_owned();
            refused(DnsCheckError::NameRefused { name });
            world.set(&DnsEntry {
                exit: None,
                ..entry()
            });
            refused(DnsCheckError::NotAsked {
                outcome: QuestionOutcome::NoExit.name(),
            });
            assert_eq!(world.outside.asked(), []);
        },
    );
}

#[test]
fn a_measurement_of_many_names_at_a_silent_resolver_ends_in_time_and_another_one_is_refused_meanwhile()
 {
    alone(
        full_name!(
            "a_measurement_of_many_names_at_a_silent_resolver_ends_in_time_and_another_one_is_refused_meanwhile"
        ),
        || {
            let world = World::new();
            world.set(&DnsEntry {
                upstreams: vec!["203.0.113.53:53".parse().unwrap()],
                ..entry()
            });
            for line in [
                "nft add table inet dead",
                "nft add chain inet dead in { type filter hook input priority 0 ; }",
                "nft add rule inet dead in ip daddr 203.0.113.53 drop",
            ] {
                world.world.run(line);
            }
            let names: Vec<String> = (0..20).map(|one| format!("a{one}.example.com")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let began = Instant::now();
            let report = asked(&world, "10.244.1.2", &names);
            let meanwhile = measured(&world, "10.244.1.2", &["example.com"]);
            assert_eq!(meanwhile, Err(DnsCheckError::Busy));
            let report = report.blocking_recv().unwrap().unwrap();
            // Of 20 names, each of which would be waited for for two seconds and more.
            let took = began.elapsed();
            assert!(took < Duration::from_secs(20), "{took:?}");
            assert_eq!(report.cost.upstream.answered, 0);
            assert!(!DnsVerdict::of(report, Duration::from_secs(1)).holds);
        },
    );
}
