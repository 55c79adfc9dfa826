//! Answers as tables for people, or as JSON for programs.

use std::net::IpAddr;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use crate::cli::args::Output;
use crate::lab::LabError;
use crate::lab::{Applied, NodeStatus, PodRecord, ProcessStatus, Status};
use crate::proof::demo::Claims;
use crate::proof::harness::Proofs;
use crate::proof::judge::Packets;

pub(crate) struct Printer {
    output: Output,
}

impl Printer {
    pub(crate) fn new(output: Output) -> Self {
        Self { output }
    }

    pub(super) fn print<T: Serialize + ?Sized>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), LabError> {
        match self.output {
            Output::Text => println!("{}", text()),
            Output::Json => {
                let json =
                    serde_json::to_string_pretty(value).map_err(LabError::json("the answer"))?;
                println!("{json}");
            }
        }
        Ok(())
    }

    pub(crate) fn applied(&self, objects: &[Applied]) -> Result<(), LabError> {
        self.print(objects, || {
            let lines = objects
                .iter()
                .map(|object| format!("{} {} {}", object.kind, object.name, object.outcome));
            lines.collect::<Vec<_>>().join("\n")
        })
    }

    pub(crate) fn status(&self, status: &Status) -> Result<(), LabError> {
        self.print(status, || {
            let services = status.services.len();
            format!(
                "lab in {} since {}: {}; {services} services\n\n{}\n\n{}",
                status.dir.display(),
                status.created.strftime("%F %T UTC"),
                processes(&status.processes),
                node_table(&status.nodes),
                pod_table(&status.pods)
            )
        })
    }

    pub(crate) fn nodes(&self, nodes: &[NodeStatus]) -> Result<(), LabError> {
        self.print(nodes, || node_table(nodes))
    }

    pub(crate) fn pods(&self, pods: &[PodRecord]) -> Result<(), LabError> {
        self.print(pods, || pod_table(pods))
    }

    pub(crate) fn claims(&self, claims: &Claims) -> Result<(), LabError> {
        self.print(claims, || {
            let mut table = table(&["CLAIM", "SHOULD BE", "WAS", ""]);
            for claim in &claims.list {
                let holds = if claim.holds { "ok" } else { "FAILED" };
                table.add_row([&claim.what, &claim.should, &claim.was, holds]);
            }
            table.to_string()
        })
    }

    pub(crate) fn proofs(&self, proofs: &Proofs) -> Result<(), LabError> {
        self.print(proofs, || proof_text(proofs))
    }

    pub(crate) fn packets(&self, packets: &Packets) -> Result<(), LabError> {
        self.print(packets, || packet_text(packets))
    }
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    table
}

fn addresses(list: &[IpAddr]) -> String {
    list.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn processes(list: &[ProcessStatus]) -> String {
    let words = list.iter().map(|process| {
        let state = if process.running { "runs" } else { "is dead" };
        format!("{} {state}", process.name)
    });
    words.collect::<Vec<_>>().join(", ")
}

fn node_table(nodes: &[NodeStatus]) -> String {
    let mut table = table(&["NODE", "ROLE", "ADDRESSES", "PROCESSES"]);
    for node in nodes {
        let role = if node.gateway { "gateway" } else { "" };
        table.add_row([
            &node.name,
            role,
            &addresses(&node.addresses),
            &processes(&node.processes),
        ]);
    }
    table.to_string()
}

fn pod_table(pods: &[PodRecord]) -> String {
    let mut table = table(&["POD", "NODE", "ADDRESSES", "ITS OWN WORLD ADDRESSES"]);
    for pod in pods {
        table.add_row([
            pod.key(),
            pod.node.clone(),
            addresses(&pod.addresses),
            addresses(&pod.world),
        ]);
    }
    table.to_string()
}

fn proof_text(proofs: &Proofs) -> String {
    let mut table = table(&[
        "RUN",
        "EVENT",
        "ATTEMPTED",
        "BEFORE",
        "AFTER",
        "LEAKED",
        "RESETS",
    ]);
    for run in &proofs.runs {
        for event in &run.events {
            let proof = &event.proof;
            let counts = [
                proof.attempted,
                proof.arrived_before,
                proof.arrived_after,
                proof.leaked,
                proof.node_resets,
            ];
            let words = [run.run.clone(), proof.case.clone()];
            let counts = counts.iter().map(ToString::to_string);
            table.add_row(words.into_iter().chain(counts));
        }
    }
    let faults = proofs.faults.join("\n");
    format!("{table}\n\n{} faults\n{faults}", proofs.faults.len())
}

fn packet_text(packets: &Packets) -> String {
    let mut sources = table(&["SOURCE", "NODE", "PACKETS", "FIRST", "LAST"]);
    for source in &packets.sources {
        let times = [source.first.to_string(), source.last.to_string()];
        let count = source.packets.to_string();
        sources.add_row([
            &source.address.to_string(),
            &source.node,
            &count,
            &times[0],
            &times[1],
        ]);
    }
    let mut pods = table(&["POD", "ARRIVED", "BEFORE"]);
    for pod in &packets.pods {
        pods.add_row([
            pod.pod.clone(),
            pod.arrived.to_string(),
            pod.before.to_string(),
        ]);
    }
    let mut leaks = table(&[
        "LEAK OF", "SOURCE", "NODE", "PROTOCOL", "PACKETS", "FIRST", "LAST",
    ]);
    for leak in &packets.leaks {
        let (source, count) = (leak.source.to_string(), leak.packets.to_string());
        let times = [leak.first.to_string(), leak.last.to_string()];
        leaks.add_row([
            &leak.pod,
            &source,
            &leak.node,
            &leak.protocol,
            &count,
            &times[0],
            &times[1],
        ]);
    }
    let agreed = if packets.agreed {
        "agree"
    } else {
        "DO NOT AGREE"
    };
    format!(
        "captured {}, dropped {}, the two counters {agreed}\n\n{sources}\n\n{pods}\n\nleaked {}, node resets {}, replies to \
         inbound connections {}{}",
        packets.captured,
        packets.dropped,
        packets.leaked,
        packets.node_resets,
        packets.replies,
        if packets.leaks.is_empty() {
            String::new()
        } else {
            format!("\n\n{leaks}")
        }
    )
}
