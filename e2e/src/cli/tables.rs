//! Tables of nodes and pods, which several verbs print.

use std::net::IpAddr;

use crate::cli::output::table;
use crate::lab::{NodeStatus, PodRecord, ProcessStatus};

pub(crate) fn node_table(nodes: &[NodeStatus]) -> String {
    let mut table = table(&["NODE", "ROLE", "ADDRESSES", "PROCESSES"]);
    for node in nodes {
        let role = if node.gateway { "gateway" } else { "" };
        table.add_row([
            &node.name,
            role,
            &addresses(&node.addresses),
            &process_list(&node.processes),
        ]);
    }
    table.to_string()
}

pub(crate) fn pod_table(pods: &[PodRecord]) -> String {
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

pub(crate) fn process_list(list: &[ProcessStatus]) -> String {
    let words = list.iter().map(|process| {
        let state = if process.running { "runs" } else { "is dead" };
        format!("{} {state}", process.name)
    });
    words.collect::<Vec<_>>().join(", ")
}

fn addresses(list: &[IpAddr]) -> String {
    list.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}
