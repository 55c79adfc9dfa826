//! What a pod over its limit, or a dead one, takes from others: time, and places.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postern_e2e::lab::PodOptions;
use postern_e2e::proof::harness::{WAIT_DEADLINE, record_run, wait_until};
use serde_json::json;

use super::{Crowd, Flow, NODE, opened, streams};
use crate::holes::serving;

/// How long each of so many echoes of the world takes to a pod, the shortest first.
fn echoes(crowd: &Crowd, pod: usize, count: usize) -> Vec<Duration> {
    let asked = || {
        let one = |_| {
            // A socket of its own: an answer to an earlier echo, which comes late, is not taken for this one's.
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((crowd.world[0], 7)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            let begin = Instant::now();
            socket.send(b"x").unwrap();
            let answer = socket.recv(&mut [0; 64]).ok();
            let time = begin.elapsed();
            thread::sleep(Duration::from_millis(2));
            answer.map(|_| time)
        };
        Ok((0..count).filter_map(one).collect())
    };
    let sandbox = crowd.pods[pod].sandbox();
    let mut times: Vec<Duration> = crowd.lab.namespace(&sandbox).run(asked).unwrap();
    times.sort();
    times
}

/// How much longer a neighbour's echo may take beside a pod over its limit: two cores carry both, and one queue would take seconds.
const SLOWER: f64 = 10.0;

/// Seconds that are always allowed on top: the scheduler may delay a process for that long.
const HELD_UP: f64 = 0.1;

#[test]
fn a_neighbours_echo_takes_no_longer_in_kind_beside_a_pod_over_its_limit() {
    let crowd = Crowd::up();
    crowd.limit("limits: {packetsPerSecond: 1000}");
    let count = 500;
    let alone = echoes(&crowd, 1, count);
    let stop = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let flood = streams(1000, Flow::One, 16, 0)[0];
    let mut beside = Vec::new();
    thread::scope(|scope| {
        let before = crowd.arrived(0);
        scope.spawn(|| crowd.send(flood, &stop, &sent).unwrap());
        crowd.await_refusals(flood, &sent, before);
        beside = echoes(&crowd, 1, count);
        stop.store(true, Ordering::Relaxed);
    });
    wait_until(WAIT_DEADLINE, "refused packets of the flood", || {
        Ok((crowd.counted("over_packets") > 0).then_some(()))
    })
    .unwrap();
    for times in [&alone, &beside] {
        assert!(
            times.len() * 100 >= count * 97,
            "{} of {count}",
            times.len()
        );
    }
    let at = |times: &[Duration], part: usize| times[(times.len() - 1) * part / 100].as_secs_f64();
    let row = |part| {
        let (alone, beside) = (at(&alone, part), at(&beside, part));
        json!({"percentile": part, "aloneSeconds": alone, "besideSeconds": beside, "ratio": beside / alone})
    };
    let rows = [50, 99].map(row);
    println!("{}\n{}", rows[0], rows[1]);
    record_run("limits-neighbour", &rows).unwrap();
    for row in &rows {
        let seconds = |key: &str| row[key].as_f64().unwrap();
        let most = seconds("aloneSeconds") * SLOWER + HELD_UP;
        assert!(seconds("besideSeconds") < most, "{row}");
    }
}

#[test]
fn the_places_of_a_dead_pod_are_free_for_the_pod_that_has_its_address_next() {
    let mut crowd = Crowd::up();
    crowd.limit("limits: {connections: 20}");
    // The sockets stay open: no FIN or RST ends a connection.
    let open = opened(&crowd, 0, 25);
    assert_eq!(open.len(), 20);
    assert_eq!(opened(&crowd, 0, 2).len(), 0);
    crowd.lab.delete_pod("crawlers/web").unwrap();
    let next = PodOptions {
        addresses: crowd.pods[0].addresses.clone(),
        ..PodOptions::on(NODE)
    };
    let former = crowd.pods[0].addresses.clone();
    crowd.pods[0] = serving(&crowd.lab, "crawlers/next", next);
    assert_eq!(crowd.pods[0].addresses, former);
    let mut all = Vec::new();
    wait_until(WAIT_DEADLINE, "as many connections of the next pod", || {
        all.extend(opened(&crowd, 0, 20 - all.len()));
        Ok((all.len() == 20).then_some(()))
    })
    .unwrap();
    assert_eq!(opened(&crowd, 0, 2).len(), 0);
    drop(open);
}
