//! `posternctl dns`: names, on the node that it runs on.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use postern_control::dns_check::{BOUND, DnsCheck, DnsVerdict};
use postern_control::measure_dns;

use super::{VerbAnswer, VerbError};
use crate::output::{Format, TableOutput};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: DnsAct,
}

#[derive(Debug, Subcommand)]
enum DnsAct {
    /// Measure what the DNS forwarder of this node adds to the time of its resolvers, for one pod: p50, p95 and p99 of both. On the
    /// node of the pod, as root. Exit code 0 where the bound holds, 3 where it does not.
    Check(CheckArguments),
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The folder of the agent's socket.
    #[arg(long, value_name = "DIR", default_value = "/run/postern")]
    run_dir: PathBuf,
    /// An address of the pod.
    #[arg(long, value_name = "ADDRESS")]
    pod: IpAddr,
    /// How often each name is asked by each way, within 20 s.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// What the forwarder may add to the 99th percentile, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = BOUND)]
    bound: u64,
    /// Names that the policy of the pod allows.
    #[arg(required = true)]
    names: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let DnsAct::Check(arguments) = &arguments.what;
    let check = DnsCheck {
        pod: arguments.pod,
        names: arguments.names.clone(),
        rounds: arguments.rounds,
    };
    let bound = Duration::from_millis(arguments.bound);
    let verdict = measure_dns(&arguments.run_dir, check, bound).map_err(VerbError::Agent)?;
    VerbAnswer::of(&verdict, format)
}

impl TableOutput for DnsVerdict {
    fn table(&self) -> String {
        self.to_string().trim_end().to_owned()
    }

    fn is_well(&self) -> bool {
        self.holds
    }
}
