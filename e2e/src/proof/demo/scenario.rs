//! The steps of the demo.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::lab::LabError;
use crate::lab::topology::{DNS4, Node, WORLD_LAN4};
use crate::lab::{Cluster, Exec, Lab, read_objects};
use crate::proof::demo::claims::Claims;
use crate::proof::demo::conditions;
use crate::proof::demo::pods::{DemoPods, NODE_PORT, SERVICE, probe, resolve};
use crate::proof::harness::{After, FLOWS, Sender, exit, wait_until};

/// Time in which a question about connectivity may still be asked again.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The addresses of the exit, on the gateway's uplink.
const EGRESS: [&str; 2] = ["192.168.10.200", "2001:db8:10::c8"];

/// Runs the demo on a lab that is up. `samples` is the folder of the sample objects; each stage is passed to
/// `on_stage`.
///
/// # Errors
/// The first act that failed; a claim that does not hold is no error.
pub fn run(lab: &Lab, samples: &Path, on_stage: &mut dyn FnMut(&str)) -> Result<Claims, LabError> {
    let mut claims = Claims::default();
    on_stage("applying the samples");
    let cluster = lab.state()?.options.cluster;
    match cluster {
        Cluster::Standalone => drop(lab.apply(read_objects(samples)?)?),
        Cluster::ApiServer => {
            let samples = samples.display().to_string();
            lab.kubectl_ok(&["apply", "-f", &samples])?;
        }
    }
    own_addresses(lab)?;
    for node in ["n1", "gw-1"] {
        lab.await_report(node, "a report that the samples are in force", |status| {
            let guarded = status.get("guardedNamespaces").and_then(Value::as_array);
            guarded.is_some_and(|names| {
                names.contains(&"vault".into()) && names.contains(&"crawlers".into())
            })
        })?;
    }
    on_stage("starting pods that send all the time");
    let pods = DemoPods::start(lab)?;
    lab.await_exit(&pods.crawler)?;
    lab.await_exit(&pods.local)?;
    on_stage("watching who leaves where");
    undisturbed(lab, &pods, &mut claims)?;
    on_stage("asking around inside the cluster");
    inside(lab, &pods, &mut claims)?;
    events(lab, &pods, &mut claims, on_stage)?;
    if cluster == Cluster::ApiServer {
        on_stage("asking the API server what it says of all this");
        conditions::said(lab, &mut claims)?;
        conditions::away(lab, &pods, &mut claims, on_stage)?;
    }
    whole_run(lab, &pods, &mut claims)?;
    Ok(claims)
}

/// Gives the exit addresses of its own: with the node's, a pod on the gateway that went past the guard would look like
/// one that left by the exit.
fn own_addresses(lab: &Lab) -> Result<(), LabError> {
    let [four, six] = EGRESS;
    lab.apply_yaml(&exit(
        "eu",
        "gw-1",
        &format!("egressIPs: [\"{four}\", \"{six}\"]"),
    ))
}

fn undisturbed(lab: &Lab, pods: &DemoPods, claims: &mut Claims) -> Result<(), LabError> {
    let since = Timestamp::now();
    let (gateway, client) = (EGRESS.join(" "), both(&lab.node("n1")?));
    let senders = [
        ("a selected pod", &pods.crawler, &gateway),
        (
            "a selected pod on the gateway itself",
            &pods.local,
            &gateway,
        ),
        ("an unselected pod on the same node", &pods.plain, &client),
    ];
    for (who, sender, source) in senders {
        sender.await_answers(&FLOWS, since, ANSWER_DEADLINE)?;
        claims.equal(
            format!("{who}: TCP, UDP, ICMP, IPv4 and IPv6 answered"),
            6,
            flows(sender, since),
        );
        claims.equal(
            format!("{who} is seen from"),
            source,
            sources(sender, since),
        );
    }
    // Its silence is worth something after a whole second in which it tried.
    lab.await_attempts(&pods.locked, Timestamp::now())?;
    claims.some(
        "a pod in a namespace without a way out: attempted",
        pods.locked.attempted_since(since),
    );
    claims.equal(
        "the same: flows answered",
        0,
        flows(&pods.locked, Timestamp::MIN),
    );
    Ok(())
}

fn inside(lab: &Lab, pods: &DemoPods, claims: &mut Claims) -> Result<(), LabError> {
    let crawler = Exec::Pod("crawlers/crawler");
    let node = lab.node("n1")?;
    let own = pods.crawler.pod.addresses[0].to_string();
    let n1 = node.ipv4().to_string();
    let mut reach = |what: &str, should: &str, from: Exec<'_>, to: (IpAddr, u16)| {
        let was = settled(should, || probe(lab, from, to))?;
        claims.equal(what, should, was);
        Ok::<_, LabError>(())
    };
    reach(
        "selected pod to a pod on its node, seen from",
        &own,
        crawler,
        (pods.server.addresses[0], 7),
    )?;
    // The bridge plugin masquerades what leaves its node's pod range, towards other pods too.
    reach(
        "selected pod to a pod on another node, seen from",
        &n1,
        crawler,
        (pods.far.addresses[0], 7),
    )?;
    let service: std::net::SocketAddr = SERVICE.parse().unwrap_or_else(|_| (node.ipv4(), 0).into());
    reach(
        "selected pod to a service, seen from",
        &n1,
        crawler,
        (service.ip(), service.port()),
    )?;
    let bridge = node
        .pods4()
        .hosts()
        .next()
        .unwrap_or(node.ipv4())
        .to_string();
    reach(
        "probe of a selected pod by its node, seen from",
        &bridge,
        Exec::Node("n1"),
        (pods.server.addresses[0], 7),
    )?;
    let world = WORLD_LAN4.to_string();
    reach(
        "node port of a selected pod, asked by the world",
        &world,
        Exec::World,
        (node.ipv4().into(), NODE_PORT),
    )?;
    names(lab, pods, claims)
}

fn names(lab: &Lab, pods: &DemoPods, claims: &mut Claims) -> Result<(), LabError> {
    let exit = EGRESS[0];
    let resolver = pods.crawler.pod.world[2];
    let was = settled(exit, || {
        resolve(lab, "crawlers/crawler", resolver, "whoami.world.test")
    })?;
    claims.equal("a world name is asked for from", exit, was);
    let name = "far.default.svc.cluster.local";
    let was = settled("10.96.0.10", || {
        resolve(lab, "crawlers/crawler", DNS4.into(), name)
    })?;
    claims.equal(name, "10.96.0.10", was);
    Ok(())
}

fn events(
    lab: &Lab,
    pods: &DemoPods,
    claims: &mut Claims,
    on_stage: &mut dyn FnMut(&str),
) -> Result<(), LabError> {
    let mut play = |case: &str, after: After, event: &dyn Fn(&Lab) -> Result<(), LabError>| {
        on_stage(case);
        let proof = lab.prove(case, &pods.crawler, after, event)?;
        claims.some(format!("{case}: attempted"), proof.attempted);
        match after {
            After::Stops => {}
            After::Flows | After::Released => claims.some(
                format!("{case}: arrived by the exit after it"),
                proof.arrived_after,
            ),
        }
        claims.equal(format!("{case}: leaked"), 0, proof.leaked);
        Ok::<_, LabError>(())
    };
    play("tunnel process killed", After::Stops, &|lab| {
        lab.kill("tunnel-n1")
    })?;
    lab.start_tunnel("n1")?;
    lab.await_exit(&pods.crawler)?;
    play("agent killed", After::Flows, &|lab| lab.kill("agent-n1"))?;
    play("agent started again", After::Flows, &|lab| {
        lab.start_agent("n1")
    })?;
    let nft = |command: &'static [&'static str]| {
        move |lab: &Lab| lab.exec_ok(Exec::Node("n1"), command).map(drop)
    };
    let delete = nft(&["nft", "delete", "table", "inet", "postern"]);
    let case = "our nft table deleted by somebody else";
    play(case, After::Flows, &delete)?;
    let flush = nft(&["nft", "flush", "ruleset"]);
    let case = "the whole nft ruleset flushed by somebody else";
    play(case, After::Flows, &flush)?;
    // What else was in that ruleset was not ours: its owners put it back.
    lab.restore_masquerade("n1")?;
    lab.translate_services()
}

fn whole_run(lab: &Lab, pods: &DemoPods, claims: &mut Claims) -> Result<(), LabError> {
    let since = Timestamp::now();
    pods.plain.await_answers(&FLOWS, since, ANSWER_DEADLINE)?;
    claims.equal(
        "the unselected pod still sends as before: flows answered",
        6,
        flows(&pods.plain, since),
    );
    let packets = lab.packets()?;
    claims.some("whole run: packets captured", packets.captured);
    claims.equal(
        "whole run: packets that the capture missed",
        0,
        packets.dropped,
    );
    claims.equal(
        "whole run: the two counters",
        "agree",
        if packets.agreed { "agree" } else { "disagree" },
    );
    claims.some(
        "whole run: packets of the selected pod by its exit",
        packets.of(&pods.crawler.pod.uid).exited,
    );
    claims.equal(
        "whole run: packets of the locked pod",
        0,
        packets.of(&pods.locked.pod.uid).arrived,
    );
    claims.equal("whole run: leaked", 0, packets.leaked);
    claims.equal("whole run: doubts", "", packets.faults().join("; "));
    Ok(())
}

/// Asks until the answer is the expected one, at most for the deadline, and returns the last answer.
fn settled(
    should: &str,
    mut ask: impl FnMut() -> Result<String, LabError>,
) -> Result<String, LabError> {
    let mut last = String::new();
    let waited = wait_until(ANSWER_DEADLINE, "the expected answer", || {
        last = ask()?;
        Ok((last == should).then_some(()))
    });
    match waited {
        Ok(()) | Err(LabError::Timeout { .. }) => Ok(last),
        Err(error) => Err(error),
    }
}

fn flows(sender: &Sender, since: Timestamp) -> usize {
    sender
        .since(since)
        .values()
        .filter(|tally| tally.received > 0)
        .count()
}

fn sources(sender: &Sender, since: Timestamp) -> String {
    let seen: BTreeSet<IpAddr> = sender
        .since(since)
        .into_values()
        .flat_map(|tally| tally.sources)
        .collect();
    seen.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn both(node: &Node) -> String {
    format!("{} {}", node.ipv4(), node.ipv6())
}
