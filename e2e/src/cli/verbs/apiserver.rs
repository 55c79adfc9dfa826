//! `lab apiserver`: stops and starts the API server, lets it fail, and counts its requests.

use clap::{Args, Subcommand};

use crate::cli::output::{Printer, table};
use crate::cluster::{Fault, RequestCounts};
use crate::lab::{Lab, LabError};

#[derive(Debug, Subcommand)]
pub(crate) enum ApiserverVerb {
    /// Kill it; connections are refused until it is started.
    Stop,
    /// Start it, and wait until it is ready.
    Start,
    /// Answer a share of the clients' requests with a failure: `fault 429 0.5`, `fault off`.
    Fault(FaultArguments),
    /// Print what clients have asked, by user agent, verb and resource.
    Requests {
        /// Set the counts to 0 afterwards.
        #[arg(long)]
        reset: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FaultArguments {
    /// 409 (writes only), 410 (lists and watches only), 429, 500 or 503; `off` ends it.
    code: String,
    /// The share, above 0 and at most 1.
    rate: Option<f64>,
    /// Only for clients whose user agent begins so.
    #[arg(long)]
    agent: Option<String>,
    /// Only for this verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    #[arg(long)]
    verb: Option<String>,
    /// Only for this resource: `leases.coordination.k8s.io`, `nodereports.postern.dev/status`.
    #[arg(long)]
    resource: Option<String>,
}

pub(crate) fn run(lab: &Lab, verb: &ApiserverVerb, printer: &Printer) -> Result<(), LabError> {
    lab.needs_api_server("apiserver")?;
    match verb {
        ApiserverVerb::Stop => lab.stop_api_server(),
        ApiserverVerb::Start => lab.restart_api_server(),
        ApiserverVerb::Fault(arguments) => fault(lab, arguments),
        ApiserverVerb::Requests { reset } => {
            print_requests(&lab.requests()?, printer)?;
            if *reset { lab.reset_requests() } else { Ok(()) }
        }
    }
}

fn fault(lab: &Lab, arguments: &FaultArguments) -> Result<(), LabError> {
    if arguments.code == "off" {
        return lab.clear_fault();
    }
    let wrong = |value: &str, why: &str| LabError::Invalid {
        what: "fault",
        value: value.to_owned(),
        why: why.to_owned(),
    };
    let code = arguments.code.parse();
    lab.set_fault(&Fault {
        code: code.map_err(|_| wrong(&arguments.code, "name a status, or `off`"))?,
        rate: arguments
            .rate
            .ok_or_else(|| wrong(&arguments.code, "name the share behind it, `fault 429 0.5`"))?,
        user_agent: arguments.agent.clone(),
        verb: arguments.verb.clone(),
        resource: arguments.resource.clone(),
    })
}

fn print_requests(counts: &RequestCounts, printer: &Printer) -> Result<(), LabError> {
    printer.print(counts, || request_text(counts))
}

fn request_text(counts: &RequestCounts) -> String {
    let mut table = table(&[
        "CLIENT", "VERB", "RESOURCE", "REQUESTS", "OPEN", "FAULTS", "DELAYED", "CODES", "SENT",
        "RECEIVED",
    ]);
    for row in &counts.requests {
        let codes = row
            .codes
            .iter()
            .map(|(code, count)| format!("{code}: {count}"));
        let codes = codes.collect::<Vec<_>>().join(", ");
        let words = [
            row.user_agent.clone(),
            row.verb.clone(),
            row.resource.clone(),
        ];
        let before = [row.requests, row.open, row.faults, row.delayed];
        let before = before.map(|count| count.to_string());
        let after = [row.request_bytes, row.response_bytes].map(|count| count.to_string());
        table.add_row(words.into_iter().chain(before).chain([codes]).chain(after));
    }
    format!("since {}\n\n{table}", counts.since)
}
