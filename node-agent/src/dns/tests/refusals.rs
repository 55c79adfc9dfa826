//! What pods do not hear, and what does not leave.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use postern_intent::body::TermsDnsMode;
use postern_plan::desired::Lease;
use postern_plan::desired::dns::DnsEntry;

use super::super::QuestionOutcome;
use super::dig::{Answer, dig, dig_for};
use super::namespace::{alone, full_name, run};
use super::world::{CLUSTER, Facts, WAYS, WORLD, World, entry};

#[test]
fn a_blocked_pod_gets_names_of_the_cluster_and_no_others() {
    alone(
        full_name!("a_blocked_pod_gets_names_of_the_cluster_and_no_others"),
        || {
            let world = World::new();
            world.set(&DnsEntry {
                mode: TermsDnsMode::Block,
                ..entry()
            });
            for way in WAYS {
                let refused = dig(&world.pods[0], &format!("{way} example.com A"));
                assert_eq!(refused, Answer::of("REFUSED", &[]), "{way}");
                let answer = dig(&world.pods[0], &format!("{way} api.cluster.local A"));
                assert_eq!(answer, Answer::of("NOERROR", &[CLUSTER]), "{way}");
            }
            assert_eq!(world.outside.asked(), []);
            assert_eq!(world.counters.get(QuestionOutcome::Blocked), 4);
        },
    );
}

#[test]
fn without_exit_or_lease_names_outside_fail_and_nothing_leaves() {
    alone(
        full_name!("without_exit_or_lease_names_outside_fail_and_nothing_leaves"),
        || {
            let world = World::new();
            world.set(&DnsEntry {
                exit: None,
                ..entry()
            });
            for way in WAYS {
                assert_eq!(
                    dig(&world.pods[0], &format!("{way} example.com A")),
                    Answer::of("SERVFAIL", &[])
                );
            }
            world.set(&entry());
            world.set_facts(Facts {
                asked: None,
                lease: Lease::RanOut,
                ..Facts::usual()
            });
            for way in WAYS {
                assert_eq!(
                    dig(&world.pods[0], &format!("{way} example.com A")),
                    Answer::of("SERVFAIL", &[])
                );
                let answer = dig(&world.pods[0], &format!("{way} api.cluster.local A"));
                assert_eq!(answer, Answer::of("NOERROR", &[CLUSTER]), "{way}");
            }
            assert_eq!(world.outside.asked(), []);
            assert_eq!(
                (
                    world.counters.get(QuestionOutcome::NoExit),
                    world.counters.get(QuestionOutcome::NoLease)
                ),
                (4, 4)
            );
        },
    );
}

#[test]
fn when_the_exits_device_goes_names_fail_and_nothing_takes_the_uplink() {
    alone(
        full_name!("when_the_exits_device_goes_names_fail_and_nothing_takes_the_uplink"),
        || {
            let world = World::new();
            // First the proof that the uplink would carry it.
            let mut by_uplink = entry();
            let exit = by_uplink.exit.as_mut().unwrap();
            (exit.mark, exit.device) = (0, "uplink".parse().unwrap());
            exit.sources.clear();
            exit.sources.insert(
                postern_plan::host::Family::V4,
                postern_plan::desired::SocketSource::Address("192.0.2.2".parse().unwrap()),
            );
            world.set(&by_uplink);
            assert_eq!(
                dig(&world.pods[0], "@203.0.113.53 example.com A"),
                Answer::of("NOERROR", &[WORLD])
            );
            assert_eq!(world.outside.asked()[0].from.ip().to_string(), "192.0.2.2");

            world.set(&entry());
            assert_eq!(
                dig(&world.pods[0], "@203.0.113.53 example.com A"),
                Answer::of("NOERROR", &[WORLD])
            );
            run("ip link delete pst-c-berlin");
            for way in WAYS {
                assert_eq!(
                    dig(&world.pods[0], &format!("{way} example.com A")),
                    Answer::of("SERVFAIL", &[])
                );
            }
            assert_eq!(world.outside.asked().len(), 2);
        },
    );
}

#[test]
fn an_unknown_client_gets_nothing() {
    alone(full_name!("an_unknown_client_gets_nothing"), || {
        let world = World::new();
        for way in WAYS {
            for name in ["example.com", "api.cluster.local"] {
                let answer = dig_for(&world.stranger, 1, &format!("{way} {name} A"));
                assert_eq!(answer, Answer::nothing(), "{way} {name}");
            }
        }
        assert_eq!(
            (world.outside.asked(), world.cluster.asked()),
            (vec![], vec![])
        );
        assert!(world.counters.get(QuestionOutcome::UnknownClient) >= 8);
    });
}

#[test]
fn a_silent_resolver_is_followed_by_the_next_one_and_by_servfail_before_clients_give_up() {
    alone(
        full_name!(
            "a_silent_resolver_is_followed_by_the_next_one_and_by_servfail_before_clients_give_up"
        ),
        || {
            let world = World::new();
            // Nobody has this address.
            let (away, good) = (
                "203.0.113.55:53".parse().unwrap(),
                "203.0.113.54:53".parse().unwrap(),
            );
            world.set(&DnsEntry {
                upstreams: vec![away, good],
                ..entry()
            });
            let answer = dig(&world.pods[0], "@203.0.113.53 example.com A");
            assert_eq!(answer, Answer::of("NOERROR", &[WORLD]));
            let start = Instant::now();
            let failed = dig(&world.pods[0], "@203.0.113.53 silent.example.com A");
            assert_eq!(failed, Answer::of("SERVFAIL", &[]));
            assert!(start.elapsed() < Duration::from_secs(5));
            assert_eq!(world.counters.get(QuestionOutcome::NoAnswer), 1);
        },
    );
}

#[test]
fn what_is_no_question_is_refused_or_dropped() {
    alone(
        full_name!("what_is_no_question_is_refused_or_dropped"),
        || {
            let world = World::new();
            let exchange = |message: &[u8]| {
                let message = message.to_vec();
                world.pods[0].within(move || {
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    socket
                        .set_read_timeout(Some(Duration::from_millis(500)))
                        .unwrap();
                    socket.send_to(&message, "203.0.113.53:53").unwrap();
                    let mut buffer = [0; 512];
                    socket
                        .recv(&mut buffer)
                        .ok()
                        .map(|length| buffer[..length].to_vec())
                })
            };
            let two_questions = b"\x12\x34\x01\0\0\x02\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
            assert_eq!(exchange(two_questions).unwrap()[..4], *b"\x12\x34\x81\x81");
            let mut oversized = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x01a\0\0\x01\0\x01".to_vec();
            oversized.resize(5000, 0);
            assert_eq!(exchange(&oversized).unwrap()[..4], *b"\x12\x34\x81\x81");
            assert_eq!(
                exchange(b"\x12\x34\x81\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01"),
                None
            );
            assert_eq!(exchange(b"\x12\x34"), None);
            assert_eq!(world.counters.get(QuestionOutcome::Malformed), 4);
            assert_eq!(world.outside.asked(), []);
        },
    );
}

#[test]
fn more_questions_than_a_pod_may_have_open_are_dropped_and_others_are_served() {
    alone(
        full_name!("more_questions_than_a_pod_may_have_open_are_dropped_and_others_are_served"),
        || {
            let world = World::new();
            world.pods[0].within(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                // A burst may be lost in the listener's buffer, which holds fewer than a pod may have open.
                for id in 0..4000_u16 {
                    if world.counters.get(QuestionOutcome::Limited) > 0 {
                        break;
                    }
                    if id % 50 == 0 {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    let [high, low] = id.to_be_bytes();
                    let head = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
                    let query = [&head, b"\x06silent\x07example\0\0\x01\0\x01".as_slice()].concat();
                    socket.send_to(&query, "203.0.113.53:53").unwrap();
                }
            });
            let answer = dig(&world.pods[1], "@203.0.113.53 example.com A");
            assert_eq!(answer, Answer::of("NOERROR", &[WORLD]));
            assert!(world.counters.get(QuestionOutcome::Limited) > 0);
        },
    );
}
