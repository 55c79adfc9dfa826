//! What runs in a lab and what its nodes report.

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::{OPERATORS, operator_name};
use crate::lab::LabError;
use crate::lab::{Cluster, Lab, PodRecord, Programs, Service, UpOptions, read_json};

/// A lab at a glance.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub dir: PathBuf,
    pub created: Timestamp,
    /// What `up` was asked for.
    pub options: UpOptions,
    /// The lab's processes that belong to no node.
    pub processes: Vec<ProcessStatus>,
    pub nodes: Vec<NodeStatus>,
    pub pods: Vec<PodRecord>,
    /// Services and node ports.
    pub services: Vec<Service>,
}

/// Whether a process runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessStatus {
    pub name: String,
    pub running: bool,
}

/// One node at a glance.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    pub name: String,
    /// Whether it carries the gateway label.
    pub gateway: bool,
    /// Its addresses on the LAN.
    pub addresses: Vec<IpAddr>,
    /// Its agent and tunnel process; none in a bare lab.
    pub processes: Vec<ProcessStatus>,
    /// The status of its last report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
}

impl Lab {
    /// What runs and what is reported.
    ///
    /// # Errors
    /// When the lab's state cannot be read.
    pub fn status(&self) -> Result<Status, LabError> {
        let state = self.state()?;
        let mut names = vec!["world", "host", "monitor"];
        match state.options.cluster {
            Cluster::Standalone if state.options.programs == Programs::Postern => {
                names.push("publisher");
            }
            Cluster::Standalone => {}
            Cluster::ApiServer => names.extend(self.plane_processes()?),
        }
        let operators: Vec<String> = match (state.options.cluster, state.options.programs) {
            (Cluster::ApiServer, Programs::Postern) => (1..=OPERATORS)
                .map(operator_name)
                .collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        names.extend(operators.iter().map(String::as_str));
        Ok(Status {
            dir: self.dir.clone(),
            created: state.created,
            processes: self.process_list(names)?,
            nodes: self.nodes()?,
            pods: self.pods()?,
            services: state.services,
            options: state.options,
        })
    }

    /// The nodes with their processes and last reports.
    ///
    /// # Errors
    /// When the lab's state cannot be read.
    pub fn nodes(&self) -> Result<Vec<NodeStatus>, LabError> {
        let state = self.state()?;
        let mut parts = match state.options.programs {
            Programs::Postern => vec!["agent", "tunnel"],
            Programs::Bare => Vec::new(),
        };
        if self.has_kube_proxy(state.options.cluster)? {
            parts.push("kube-proxy");
        }
        let status = state.nodes.into_iter().map(|node| {
            let names: Vec<String> = parts
                .iter()
                .map(|part| format!("{part}-{}", node.name))
                .collect();
            // A node without a report has not written one yet; `wait_until` in a test says which.
            let report: Option<Value> = read_json(&self.report(&node.name)).ok();
            Ok(NodeStatus {
                gateway: node.gateway,
                addresses: node.addresses().to_vec(),
                processes: self.process_list(names.iter().map(String::as_str))?,
                report: report.and_then(|report| report.get("status").cloned()),
                name: node.name,
            })
        });
        status.collect()
    }

    fn process_list<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<ProcessStatus>, LabError> {
        let status = |name: &str| {
            Ok(ProcessStatus {
                name: name.to_owned(),
                running: self.runs(name)?,
            })
        };
        names.into_iter().map(status).collect()
    }
}
