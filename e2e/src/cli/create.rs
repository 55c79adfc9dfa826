//! Arguments of `up` and `pod create` as the library wants them.

use std::time::Duration;

use jiff::SignedDuration;

use crate::cli::args::{PodCreateArgs, UpArgs};
use crate::lab::LabError;
use crate::lab::{Cluster, Collector, Plugin, PodOptions, Programs, UpOptions};

impl From<&UpArgs> for UpOptions {
    fn from(args: &UpArgs) -> Self {
        Self {
            cluster: if args.standalone {
                Cluster::Standalone
            } else {
                Cluster::ApiServer
            },
            nodes: args.nodes,
            gateways: args.gateways,
            plugin: if args.no_plugin {
                Plugin::Absent
            } else {
                Plugin::Chained
            },
            programs: if args.bare {
                Programs::Bare
            } else {
                Programs::Postern
            },
            validity: args.validity,
            refresh: args.refresh,
            report_delay: args.report_delay,
            intent_delay: args.intent_delay,
            collector: if args.collector {
                Collector::There
            } else {
                Collector::Absent
            },
            agent_arguments: args.agent_argument.clone(),
        }
    }
}

/// The pod's namespace and name.
pub(crate) fn pod_name(text: &str) -> Result<(String, String), LabError> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => {
            let why = "write it as NAMESPACE/NAME".to_owned();
            Err(LabError::Invalid {
                what: "pod",
                value: text.to_owned(),
                why,
            })
        }
    }
}

pub(crate) fn pod_options(args: &PodCreateArgs) -> Result<PodOptions, LabError> {
    Ok(PodOptions {
        labels: args.label.clone(),
        status_delay: positive("--status-delay", args.status_delay)?,
        timeout: positive("--timeout", args.timeout)?,
        addresses: args.address.clone(),
        command: args.command.clone(),
        ..PodOptions::on(&args.node)
    })
}

pub(crate) fn positive(what: &'static str, value: SignedDuration) -> Result<Duration, LabError> {
    let why = "it must not be negative".to_owned();
    Duration::try_from(value).map_err(|_| LabError::Invalid {
        what,
        value: value.to_string(),
        why,
    })
}
