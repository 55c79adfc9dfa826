//! What pods hear, and what the world sees of them.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use postern_host::ports::TransportProtocol;
use postern_plan::desired::Lease;
use postern_plan::desired::dns::DnsEntry;

use super::super::QuestionOutcome;
use super::dig::{Answer, dig};
use super::namespace::{alone, full_name};
use super::world::{CLUSTER, Facts, WAYS, WORLD, World, entry};

#[test]
fn cluster_names_are_answered_by_the_clusters_resolver() {
    alone(
        full_name!("cluster_names_are_answered_by_the_clusters_resolver"),
        || {
            let world = World::new();
            for way in WAYS {
                for name in ["api.default.svc.cluster.local", "-x 10.244.1.2"] {
                    let answer = dig(&world.pods[0], &format!("{way} {name}"));
                    assert_eq!(answer, Answer::of("NOERROR", &[CLUSTER]), "{way} {name}");
                }
            }
            assert_eq!(world.counters.get(QuestionOutcome::Cluster), 8);
            assert_eq!(world.outside.asked(), []);
        },
    );
}

#[test]
fn names_outside_leave_by_the_exit_from_its_address() {
    alone(
        full_name!("names_outside_leave_by_the_exit_from_its_address"),
        || {
            let world = World::new();
            for way in WAYS {
                let answer = dig(&world.pods[0], &format!("{way} example.com A"));
                assert_eq!(answer, Answer::of("NOERROR", &[WORLD]), "{way}");
            }
            let asked = world.outside.asked();
            assert!(
                asked
                    .iter()
                    .all(|asked| asked.from.ip().to_string() == "198.18.0.2"),
                "{asked:?}"
            );
            let protocols: Vec<_> = asked.iter().map(|asked| asked.protocol).collect();
            assert_eq!(
                protocols,
                [
                    TransportProtocol::Udp,
                    TransportProtocol::Tcp,
                    TransportProtocol::Udp,
                    TransportProtocol::Tcp
                ]
            );
            assert_eq!(world.counters.get(QuestionOutcome::Exit), 4);
            assert_eq!(world.cluster.asked(), []);
        },
    );
}

#[test]
fn a_resolver_of_the_other_family_is_asked_from_the_exits_address_of_that_family() {
    alone(
        full_name!("a_resolver_of_the_other_family_is_asked_from_the_exits_address_of_that_family"),
        || {
            let world = World::new();
            world.set(&DnsEntry {
                upstreams: vec!["[2001:db8::53]:53".parse().unwrap()],
                ..entry()
            });
            for way in WAYS {
                let answer = dig(&world.pods[0], &format!("{way} example.com A"));
                assert_eq!(answer, Answer::of("NOERROR", &[WORLD]), "{way}");
            }
            let asked = world.outside.asked();
            assert!(
                asked
                    .iter()
                    .all(|asked| asked.from.ip().to_string() == "fd00:18::2"),
                "{asked:?}"
            );
        },
    );
}

#[test]
fn the_resolver_that_the_pod_named_is_asked_where_the_scope_names_none() {
    alone(
        full_name!("the_resolver_that_the_pod_named_is_asked_where_the_scope_names_none"),
        || {
            let world = World::new();
            world.set(&DnsEntry {
                upstreams: Vec::new(),
                ..entry()
            });
            let named: SocketAddr = "203.0.113.54:53".parse().unwrap();
            world.set_facts(Facts {
                asked: Some(named),
                lease: Lease::Runs,
                ..Facts::usual()
            });
            let answer = dig(&world.pods[0], "@203.0.113.54 example.com A");
            assert_eq!(answer, Answer::of("NOERROR", &[WORLD]));
            // An address of the cluster is no resolver in the world, and there is no other.
            world.set_facts(Facts {
                asked: Some("10.96.0.10:53".parse().unwrap()),
                lease: Lease::Runs,
                ..Facts::usual()
            });
            let refused = dig(&world.pods[0], "@10.96.0.10 example.com A");
            assert_eq!(refused, Answer::of("REFUSED", &[]));
            assert_eq!(world.counters.get(QuestionOutcome::NoResolver), 1);
        },
    );
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    alone(
        full_name!("an_answer_comes_from_the_address_that_was_asked"),
        || {
            let world = World::new();
            // dig takes no answer from another address, and routing would choose one for both.
            for asked in ["10.244.1.9", "10.244.1.1", "fd00:244:1::9", "fd00:244:1::1"] {
                let answer = dig(&world.pods[0], &format!("@{asked} -p 5300 example.com A"));
                assert_eq!(answer, Answer::of("NOERROR", &[WORLD]), "{asked}");
            }
        },
    );
}

#[test]
fn a_cut_answer_passes_as_it_is_and_tcp_brings_the_whole() {
    alone(
        full_name!("a_cut_answer_passes_as_it_is_and_tcp_brings_the_whole"),
        || {
            let world = World::new();
            let cut = dig(&world.pods[0], "@203.0.113.53 big.example.com A");
            assert_eq!(
                cut,
                Answer {
                    truncated: true,
                    ..Answer::of("NOERROR", &[WORLD])
                }
            );
            let whole = dig(&world.pods[0], "@203.0.113.53 +tcp big.example.com A");
            assert_eq!(whole, Answer::of("NOERROR", &[WORLD]));
        },
    );
}

#[test]
fn a_forged_answer_with_another_id_is_passed_over() {
    alone(
        full_name!("a_forged_answer_with_another_id_is_passed_over"),
        || {
            let world = World::new();
            let answer = dig(&world.pods[0], "@203.0.113.53 forged.example.com A");
            assert_eq!(answer, Answer::of("NOERROR", &[WORLD]));
        },
    );
}

#[test]
fn two_pods_with_the_same_id_each_get_their_own_answer() {
    alone(
        full_name!("two_pods_with_the_same_id_each_get_their_own_answer"),
        || {
            let world = World::new();
            let ask = |name: &'static [u8]| {
                let query = [
                    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".as_slice(),
                    name,
                    b"\0\0\x01\0\x01",
                ]
                .concat();
                let socket = UdpSocket::bind("0.0.0.0:4321").unwrap();
                socket
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                socket.send_to(&query, "203.0.113.53:53").unwrap();
                let mut buffer = [0; 512];
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!(from.to_string(), "203.0.113.53:53");
                assert_eq!(buffer[..2], *b"\x12\x34");
                assert_eq!(buffer[12..12 + name.len()], *name);
                length
            };
            let [first, second] = &world.pods;
            std::thread::scope(|scope| {
                scope.spawn(|| first.within(|| ask(b"\x05late1\x07example")));
                scope.spawn(|| second.within(|| ask(b"\x05late2\x07example")));
            });
            let asked = world.outside.asked();
            assert_eq!(asked.len(), 2);
            assert_ne!(asked[0].from.port(), asked[1].from.port());
            // Two random ids are the same once in 65 536 runs; then both are not the pods' own.
            assert!(asked[0].id != asked[1].id || asked[0].id != *b"\x12\x34");
        },
    );
}
