//! What each verb does.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser;

use crate::cli::args::{
    Args, DemoArgs, FileArgs, NodeVerb, NodeportVerb, PodVerb, ProcessVerb, PublisherVerb, RunVerb,
    ServiceVerb, UpArgs, Verb, WorldVerb,
};
use crate::cli::create::{pod_name, pod_options};
use crate::cli::plane::{self, ControlplaneVerb};
use crate::cli::print::Printer;
use crate::cli::progress::Progress;
use crate::cluster;
use crate::lab::error::{LabError, chain};
use crate::lab::publisher;
use crate::lab::traffic::{forge, probe, send, world};
use crate::lab::{Cluster, Exec, Lab, TrafficPolicy, UpOptions, read_objects};
use crate::proof::harness::gather_proofs;
use crate::proof::judge::world_packets;
use crate::proof::{demo, monitor};

/// Runs the program: 0 is success, 1 a failure that was told; `exec` verbs answer their command's code.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, LabError> {
    let printer = Printer::new(args.output);
    let done = |result: Result<(), LabError>| result.map(|()| ExitCode::SUCCESS);
    let open = || Lab::open(&args.dir);
    match &args.verb {
        Verb::Up(up) => done(bring_up(&args.dir, up, &printer)),
        Verb::Demo(demo) => play(&args.dir, demo, &printer),
        Verb::Proof => proof(&printer),
        Verb::Apply(FileArgs { file }) => {
            done(printer.applied(&open()?.apply(read_objects(file)?)?))
        }
        Verb::Delete(FileArgs { file }) => {
            done(printer.applied(&open()?.delete(&read_objects(file)?)?))
        }
        Verb::Status => done(printer.status(&open()?.status()?)),
        Verb::Down => done(open()?.down()),
        Verb::Pod(verb) => pod(&open()?, verb, &printer),
        Verb::Node(verb) => node(&open()?, verb, &printer),
        Verb::Agent(verb) => done(process(&open()?, "agent", verb, Lab::start_agent)),
        Verb::Tunnel(verb) => done(process(&open()?, "tunnel", verb, Lab::start_tunnel)),
        Verb::Publisher(verb) => done(publish(&open()?, verb)),
        Verb::Controlplane(ControlplaneVerb::Build) => done(plane::build(&printer)),
        Verb::Plane(verb) => plane::run(&open()?, verb, &printer),
        Verb::World(WorldVerb::Packets { since }) => {
            done(printer.packets(&world_packets(&open()?, *since)?))
        }
        Verb::World(WorldVerb::Exec { command }) => exec(&open()?, Exec::World, command),
        Verb::Service(verb) => done(service(&open()?, verb)),
        Verb::Nodeport(verb) => done(nodeport(&open()?, verb)),
        Verb::Send(send) => done(send::run(send)),
        Verb::Probe(args) => done(probe::probe(args).map(|answer| println!("{answer}"))),
        Verb::Resolve(args) => done(probe::resolve(args).map(|answer| println!("{answer}"))),
        Verb::Forge(verb) => done(forge::run(verb)),
        Verb::Run(verb) => done(serve(&args.dir, *verb)),
    }
}

fn proof(printer: &Printer) -> Result<ExitCode, LabError> {
    let proofs = gather_proofs()?;
    printer.proofs(&proofs)?;
    Ok(if proofs.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn bring_up(dir: &Path, args: &UpArgs, printer: &Printer) -> Result<(), LabError> {
    let mut progress = Progress::begin();
    let lab = Lab::up(dir, &UpOptions::from(args), &mut |stage| {
        progress.tell(stage)
    });
    progress.end();
    printer.status(&lab?.status()?)
}

fn play(dir: &Path, args: &DemoArgs, printer: &Printer) -> Result<ExitCode, LabError> {
    let mut progress = Progress::begin();
    let mut told = |stage: &str| progress.tell(stage);
    let options = UpOptions {
        cluster: if args.standalone {
            Cluster::Standalone
        } else {
            Cluster::ApiServer
        },
        ..UpOptions::default()
    };
    let lab = Lab::up(dir, &options, &mut told)?;
    let played = demo::run(&lab, &args.samples, &mut told);
    progress.end();
    if let Ok(claims) = &played {
        printer.claims(claims)?;
    }
    if args.keep {
        eprintln!("{}", to_try(dir, options.cluster));
    } else {
        lab.down()?;
    }
    Ok(if played?.hold() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn to_try(dir: &Path, cluster: Cluster) -> String {
    let lab = format!(
        "cargo run -q -p postern-e2e --bin lab -- --dir {}",
        dir.display()
    );
    let objects = match cluster {
        Cluster::ApiServer => "kubectl -- get egp,exit,nodereports -A",
        Cluster::Standalone => "publisher stop",
    };
    let lines = [
        "status",
        objects,
        "world packets",
        "pod exec crawlers/crawler -- sh -c 'curl -s http://$WORLD/'",
        "tunnel kill n1",
        "tunnel start n1",
        "agent kill n1",
        "node exec n1 -- nft list table inet postern",
        "down",
    ];
    lines
        .iter()
        .fold("The lab stays up. To try:".to_owned(), |text, line| {
            format!("{text}\n  {lab} {line}")
        })
}

fn pod(lab: &Lab, verb: &PodVerb, printer: &Printer) -> Result<ExitCode, LabError> {
    match verb {
        PodVerb::Create(args) => {
            let (namespace, name) = pod_name(&args.pod)?;
            printer.pods(&[lab.create_pod(&namespace, &name, &pod_options(args)?)?])?;
        }
        PodVerb::Delete { pod } => lab.delete_pod(pod)?,
        PodVerb::List => printer.pods(&lab.pods()?)?,
        PodVerb::Exec { pod, command } => return exec(lab, Exec::Pod(pod), command),
    }
    Ok(ExitCode::SUCCESS)
}

fn node(lab: &Lab, verb: &NodeVerb, printer: &Printer) -> Result<ExitCode, LabError> {
    match verb {
        NodeVerb::List => printer.nodes(&lab.nodes()?)?,
        NodeVerb::Exec { node, command } => return exec(lab, Exec::Node(node), command),
        NodeVerb::Restore { node } => {
            lab.restore_masquerade(node)?;
            lab.translate_services()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn process(
    lab: &Lab,
    part: &str,
    verb: &ProcessVerb,
    start: fn(&Lab, &str) -> Result<(), LabError>,
) -> Result<(), LabError> {
    match verb {
        ProcessVerb::Kill { node } => lab.kill(&format!("{part}-{}", lab.node(node)?.name)),
        ProcessVerb::Stop { node } => lab.stop(&format!("{part}-{}", lab.node(node)?.name)),
        ProcessVerb::Start { node } => start(lab, node),
    }
}

fn publish(lab: &Lab, verb: &PublisherVerb) -> Result<(), LabError> {
    lab.needs_standalone("publisher")?;
    match verb {
        PublisherVerb::Stop => lab.kill("publisher"),
        PublisherVerb::Start => lab.start_publisher(),
    }
}

fn service(lab: &Lab, verb: &ServiceVerb) -> Result<(), LabError> {
    match verb {
        ServiceVerb::Create {
            name,
            cluster_ip,
            port,
            to,
        } => {
            let port = port.unwrap_or(to.port());
            lab.create_service(
                name,
                Some(*cluster_ip),
                port,
                (to.ip(), to.port()),
                TrafficPolicy::Cluster,
            )
        }
        ServiceVerb::Delete { name } => lab.delete_service(name),
    }
}

fn nodeport(lab: &Lab, verb: &NodeportVerb) -> Result<(), LabError> {
    match verb {
        NodeportVerb::Create {
            name,
            port,
            to,
            policy,
        } => lab.create_service(name, None, *port, (to.ip(), to.port()), *policy),
        NodeportVerb::Delete { name } => lab.delete_service(name),
    }
}

/// Runs a command with this program's own streams.
fn exec(lab: &Lab, place: Exec<'_>, command: &[OsString]) -> Result<ExitCode, LabError> {
    pass_on(&mut lab.command(place, command)?)
}

/// Runs a command with this program's own streams, and answers its exit code.
pub(super) fn pass_on(command: &mut Command) -> Result<ExitCode, LabError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|source| LabError::Spawn { program, source })?;
    // A shell reports a signal as 128 and its number.
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn serve(dir: &Path, verb: RunVerb) -> Result<(), LabError> {
    let lab = Lab::open(dir)?;
    match verb {
        RunVerb::World => world::world(),
        RunVerb::Monitor => monitor::run(&lab),
        RunVerb::Resolver => world::resolver(&lab),
        RunVerb::Publisher => publisher::run(&lab),
        RunVerb::Kubelet => cluster::kubelet(&lab),
        RunVerb::Forward => cluster::forward(&lab),
    }
}
