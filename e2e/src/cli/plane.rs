//! The verbs of a lab with an API server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use jiff::SignedDuration;

use crate::cli::create::positive;
use crate::cli::print::Printer;
use crate::cli::progress::Progress;
use crate::cli::run::pass_on;
use crate::cluster::{self, Bump, Fault, OPERATORS, operator_name};
use crate::lab::Lab;
use crate::lab::LabError;

#[derive(Debug, Subcommand)]
pub(crate) enum PlaneVerb {
    /// Print the path of the administrator's kubeconfig (contexts `lab`: direct, `front`: as operators and agents go).
    Kubeconfig {
        /// Print the file itself.
        #[arg(long)]
        raw: bool,
    },
    /// Run kubectl as the administrator; its exit code is this program's.
    Kubectl {
        /// Arguments of kubectl.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Kill, stop, start and hang the operators.
    #[command(subcommand)]
    Operator(OperatorVerb),
    /// Stop and start the API server, let it answer with failures, and count what clients ask.
    #[command(subcommand)]
    Apiserver(ApiserverVerb),
    /// Stop, start, save and set back the store.
    #[command(subcommand)]
    Etcd(EtcdVerb),
    /// Disturb the watches of clients.
    #[command(subcommand)]
    Watch(WatchVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorVerb {
    /// Kill one, or all; it stays dead until it is started.
    Kill {
        /// Which one, from 1; all without it.
        number: Option<u8>,
    },
    /// Ask one, or all, to end (SIGTERM) and wait for that.
    Stop {
        /// Which one, from 1; all without it.
        number: Option<u8>,
    },
    /// Start one, or all, unless it runs.
    Start {
        /// Which one, from 1; all without it.
        number: Option<u8>,
    },
    /// Let one hang: it does nothing and its connections stay.
    Pause {
        /// Which one, from 1.
        number: u8,
    },
    /// Let one that hangs go on.
    Resume {
        /// Which one, from 1.
        number: u8,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiserverVerb {
    /// Kill it; connections are refused until it is started.
    Stop,
    /// Start it, and wait until it is ready.
    Start,
    /// Answer a share of the clients' requests with a failure: `fault 429 0.5`, `fault off`.
    Fault(FaultArgs),
    /// Print what clients have asked, by user agent, verb and resource.
    Requests {
        /// Count anew afterwards.
        #[arg(long)]
        reset: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FaultArgs {
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

#[derive(Debug, Subcommand)]
pub(crate) enum EtcdVerb {
    /// Ask it to end; the API server stays and cannot answer.
    Stop,
    /// Start it, and wait until it answers.
    Start,
    /// Write its content to a file.
    Snapshot {
        /// The file.
        file: PathBuf,
    },
    /// Set it back to a snapshot; the API server is stopped before and started after.
    Restore {
        /// The file.
        file: PathBuf,
        /// Raise the revision by so much and mark what is older as compacted, so that no client sees a version twice.
        #[arg(long)]
        bump_revision: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WatchVerb {
    /// Break the watches of everything that runs on a node.
    Cut {
        /// The node.
        node: String,
    },
    /// Hold each event of every watch back; `0s` ends that.
    Delay {
        /// For how long.
        time: SignedDuration,
    },
    /// List the watches that clients have open.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ControlplaneVerb {
    /// Build the programs, or find them, and print where they are. Needs no lab.
    Build,
}

/// Builds or finds the programs of the control plane.
pub(crate) fn build(printer: &Printer) -> Result<(), LabError> {
    let mut progress = Progress::begin();
    let tools = cluster::prepare(&mut |stage| progress.tell(stage));
    progress.end();
    printer.tools(&tools?)
}

/// Does what a verb says.
pub(crate) fn run(lab: &Lab, verb: &PlaneVerb, printer: &Printer) -> Result<ExitCode, LabError> {
    lab.needs_api_server("this verb")?;
    match verb {
        PlaneVerb::Kubeconfig { raw: true } => print_kubeconfig(lab)?,
        PlaneVerb::Kubeconfig { raw: false } => {
            printer.kubeconfigs(&cluster::kubeconfigs(lab))?;
        }
        PlaneVerb::Kubectl { arguments } => return pass_on(&mut lab.kubectl(arguments)?),
        PlaneVerb::Operator(verb) => operator(lab, verb)?,
        PlaneVerb::Apiserver(verb) => apiserver(lab, verb, printer)?,
        PlaneVerb::Etcd(verb) => etcd(lab, verb)?,
        PlaneVerb::Watch(verb) => watch(lab, verb, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_kubeconfig(lab: &Lab) -> Result<(), LabError> {
    let path = cluster::kubeconfigs(lab).outside;
    let text = std::fs::read_to_string(&path).map_err(LabError::file("read", &path))?;
    print!("{text}");
    Ok(())
}

fn operator(lab: &Lab, verb: &OperatorVerb) -> Result<(), LabError> {
    lab.needs_api_server("operator")?;
    let each = |number: Option<u8>, act: &dyn Fn(u8, &str) -> Result<(), LabError>| {
        let all = 1..=OPERATORS;
        let numbers = number.map_or(all, |number| number..=number);
        numbers
            .into_iter()
            .try_for_each(|number| act(number, &operator_name(number)?))
    };
    match *verb {
        OperatorVerb::Kill { number } => each(number, &|_, name| lab.kill(name)),
        OperatorVerb::Stop { number } => each(number, &|_, name| lab.stop(name)),
        OperatorVerb::Start { number } => each(number, &|number, _| lab.start_operator(number)),
        OperatorVerb::Pause { number } => lab.pause_operator(number),
        OperatorVerb::Resume { number } => lab.resume_operator(number),
    }
}

fn apiserver(lab: &Lab, verb: &ApiserverVerb, printer: &Printer) -> Result<(), LabError> {
    match verb {
        ApiserverVerb::Stop => lab.stop_api_server(),
        ApiserverVerb::Start => lab.restart_api_server(),
        ApiserverVerb::Fault(args) => fault(lab, args),
        ApiserverVerb::Requests { reset } => {
            printer.requests(&lab.requests()?)?;
            if *reset { lab.reset_requests() } else { Ok(()) }
        }
    }
}

fn fault(lab: &Lab, args: &FaultArgs) -> Result<(), LabError> {
    if args.code == "off" {
        return lab.clear_fault();
    }
    let wrong = |value: &str, why: &str| LabError::Invalid {
        what: "fault",
        value: value.to_owned(),
        why: why.to_owned(),
    };
    let code = args.code.parse();
    lab.set_fault(&Fault {
        code: code.map_err(|_| wrong(&args.code, "name a status, or `off`"))?,
        rate: args
            .rate
            .ok_or_else(|| wrong(&args.code, "name the share behind it, `fault 429 0.5`"))?,
        user_agent: args.agent.clone(),
        verb: args.verb.clone(),
        resource: args.resource.clone(),
    })
}

fn etcd(lab: &Lab, verb: &EtcdVerb) -> Result<(), LabError> {
    match verb {
        EtcdVerb::Stop => lab.stop_etcd(),
        EtcdVerb::Start => lab.restart_etcd(),
        EtcdVerb::Snapshot { file } => lab.snapshot_etcd(file),
        EtcdVerb::Restore {
            file,
            bump_revision,
        } => lab.restore_etcd(file, bump_revision.map_or(Bump::Keep, Bump::By)),
    }
}

fn watch(lab: &Lab, verb: &WatchVerb, printer: &Printer) -> Result<(), LabError> {
    match verb {
        WatchVerb::Cut { node } => printer.cut(lab.cut_watches(node)?),
        WatchVerb::Delay { time } => {
            let time: Duration = positive("delay", *time)?;
            lab.delay_watches(time)
        }
        WatchVerb::List => printer.watches(&lab.watches()?),
    }
}
