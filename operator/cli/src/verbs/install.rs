//! `posternctl install check`: whether a cluster can have Postern.

use clap::{Args, Subcommand};
use postern_compile::snapshot::CompilerSettings;
use postern_intent::Prefix;

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::install::{CheckResult, InstallReport, TunnelNumbers};
use crate::output::{Format, render};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: InstallAct,
}

#[derive(Debug, Subcommand)]
enum InstallAct {
    /// Look at the cluster before anything is installed; nothing is changed. Exit codes: 0 every check passed; 3 something is
    /// a warning or unknown; 4 something is refused.
    Check(CheckArguments),
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The tunnels' ranges, where the settings will have other ones than the defaults.
    #[arg(long, value_delimiter = ',')]
    tunnel_cidrs: Vec<Prefix>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let InstallAct::Check(arguments) = &arguments.act;
    let settings = CompilerSettings::default().tunnels;
    let tunnels = TunnelNumbers {
        ranges: match arguments.tunnel_cidrs.is_empty() {
            true => settings.ranges,
            false => arguments.tunnel_cidrs.clone(),
        },
        ports: settings.ports,
    };
    let reading = arguments.cluster.find()?.install_reading()?;
    let report = InstallReport::of(&reading, &tunnels);
    Ok(VerbAnswer {
        text: render(&report, format)?,
        end: match report.result() {
            CheckResult::Passed => VerbEnd::Well,
            CheckResult::Unknown | CheckResult::Warning => VerbEnd::Findings,
            CheckResult::Refused => VerbEnd::Refused,
        },
    })
}
