//! Postern by Helm on upstream kubelets, from an empty cluster to an empty cluster, with packets counted outside.
//!
//! `make cluster`, as root; the first run builds kubelet, CoreDNS, Helm and the images.

mod host;
mod steps;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_e2e::lab::{PodOptions, UpOptions};
use postern_e2e::proof::harness::{After, FLOWS, Series, TestLab, WAIT_DEADLINE, record_run};
use serde_json::json;

use host::host;
use steps::Steps;

/// Who is not selected loses no more than one packet in so long.
const UNBROKEN: Duration = Duration::from_millis(300);

#[test]
fn a_release_guards_its_pods_from_its_installation_to_its_end_and_leaves_nothing_behind() {
    let lab = TestLab::exactly(&UpOptions::on_kubelets(2)).unwrap();
    let bystander = lab.sender("other/bystander", PodOptions::on("n1")).unwrap();
    // Every node has its CNI's bridge before it is looked at, wherever the resolver's pod will run.
    lab.pod_on("other/neighbour", &PodOptions::on("gw-1"))
        .unwrap();
    let crawler = PodOptions::on("n1").label("app", "crawler");
    let crawler = lab.sender("crawlers/crawler", crawler).unwrap();
    let begun = Timestamp::now();
    for sender in [&bystander, &crawler] {
        sender.await_answers(&FLOWS, begun, WAIT_DEADLINE).unwrap();
    }
    let before = ["n1", "gw-1"].map(|node| host(&lab, node));
    let steps = Steps(&lab);

    let installed = Instant::now();
    steps.install();
    let sealed = installed.elapsed();
    let mut series = Series::begin(&lab, "kubelets").unwrap();
    let mut prove = |event: &str, after: After, act: &dyn Fn(&Steps<'_>)| {
        let act = |_: &_| {
            act(&steps);
            Ok(())
        };
        series.prove(event, &crawler, after, act).unwrap();
    };
    prove("samples applied while they send", After::Flows, &|steps| {
        steps.apply_samples();
    });
    let ready = installed.elapsed();
    let applied = Timestamp::now();
    crawler
        .await_answers(&FLOWS, applied, WAIT_DEADLINE)
        .unwrap();

    let late = PodOptions::on("n1").label("app", "crawler");
    let late = lab.sender("crawlers/late", late).unwrap();
    lab.await_exit(&late).unwrap();

    prove("agent's pod deleted", After::Flows, &|steps| {
        steps.replace("agent", "n1")
    });
    prove("tunnel's pod deleted", After::Flows, &|steps| {
        steps.replace("tunnel", "n1")
    });
    prove("kubelet restarted", After::Flows, &|steps| {
        steps.restart_kubelet("n1")
    });
    prove("release upgraded", After::Flows, &|steps| steps.upgrade());
    prove("release removed", After::Released, &|steps| {
        steps.remove(&["n1", "gw-1"])
    });
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
    // Silences end with the last line that it has written.
    bystander
        .await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE)
        .unwrap();
    let silences = bystander.silent_longer_than(UNBROKEN, begun);
    assert!(silences.is_empty(), "{silences:?}");

    for (node, before) in ["n1", "gw-1"].into_iter().zip(before) {
        let after = host(&lab, node);
        for (question, answer) in &before {
            assert_eq!(&after[question], answer, "{question} of {node}");
        }
    }
    let seconds = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
    let figures = json!({
        "secondsFromInstallToEveryNodeSealed": seconds(sealed),
        "secondsFromInstallToPolicyReady": seconds(ready),
    });
    record_run("kubelets-figures", &figures).unwrap();
    println!("{figures}");
}
