//! The arguments of `lab`, and which file does what a verb says.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::output::{Output, Printer};
use crate::cli::verbs::{
    apiserver, apply, controlplane, demo, etcd, kubeconfig, kubectl, node, nodeport, operator, pod,
    process, proof, publisher, run, service, status, up, watch, world,
};
use crate::lab::error::chain;
use crate::lab::traffic::forge::{self, ForgeVerb};
use crate::lab::traffic::names::{self, NamesArgs};
use crate::lab::traffic::probe::{self, ProbeArgs, ResolveArgs};
use crate::lab::traffic::send::{self, SendArgs};
use crate::lab::{Lab, LabError};

/// A laboratory for Postern: nodes, pods and an outside world as network namespaces on this machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version, arg_required_else_help = true)]
pub struct Args {
    /// The lab's folder; several labs live side by side in different ones.
    #[arg(
        long,
        global = true,
        env = "POSTERN_LAB_DIR",
        default_value = "/tmp/postern-lab"
    )]
    pub dir: PathBuf,
    /// How to print answers.
    #[arg(long, short, global = true, default_value = "text")]
    pub output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the programs and bring up a cluster with a world behind it: on a Kubernetes API server, or on files.
    Up(up::UpArguments),
    /// Show the main job end to end: a lab, the samples, pods that send, what is killed meanwhile, and the proof.
    Demo(demo::DemoArguments),
    /// Put together what the leak cases have shown, and fail if one of the listed events is absent or does not hold.
    Proof,
    /// Write objects (exits, policies, namespaces, ...) into the lab's cluster.
    Apply(apply::FileArguments),
    /// Remove objects from the lab's cluster.
    Delete(apply::FileArguments),
    /// Show what runs and what the nodes report.
    Status,
    /// Take everything down, and fail if anything is left.
    Down,
    /// Create, delete, enter and list pods.
    #[command(subcommand)]
    Pod(pod::PodVerb),
    /// List and enter nodes.
    #[command(subcommand)]
    Node(node::NodeVerb),
    /// Kill, stop and start the agent of a node.
    #[command(subcommand)]
    Agent(process::ProcessVerb),
    /// Kill and start the tunnel process of a node.
    #[command(subcommand)]
    Tunnel(process::ProcessVerb),
    /// Stop and start the publisher, which compiles and signs intents.
    #[command(subcommand)]
    Publisher(publisher::PublisherVerb),
    /// Ask the outside world what it saw.
    #[command(subcommand)]
    World(world::WorldVerb),
    /// Make services with an address of their own.
    #[command(subcommand)]
    Service(service::ServiceVerb),
    /// Make services on a port of every node.
    #[command(subcommand)]
    Nodeport(nodeport::NodeportVerb),
    /// Send all the time, as a pod's command: TCP, UDP and ICMP to $WORLD and $WORLD6.
    Send(SendArgs),
    /// Ask a server once from here (in a pod: `pod exec`), and print the source address that it saw.
    Probe(ProbeArgs),
    /// Ask a DNS server for a name from here.
    Resolve(ResolveArgs),
    /// Ask a DNS server for many names from here, connect to what they lead to, and print what became of it as JSON.
    Names(NamesArgs),
    /// Send packets that no honest program sends from here: forged sources, frames, announcements.
    #[command(subcommand)]
    Forge(ForgeVerb),
    /// Print the path of the administrator's kubeconfig (contexts `lab`: direct, `front`: as operators and agents go).
    Kubeconfig(kubeconfig::KubeconfigArguments),
    /// Run kubectl as the administrator; its exit code is this program's.
    Kubectl(kubectl::KubectlArguments),
    /// Kill, stop, start and hang the operators.
    #[command(subcommand)]
    Operator(operator::OperatorVerb),
    /// Stop and start the API server, let it answer with failures, and count what clients ask.
    #[command(subcommand)]
    Apiserver(apiserver::ApiserverVerb),
    /// Stop, start, save and set back the store.
    #[command(subcommand)]
    Etcd(etcd::EtcdVerb),
    /// Disturb the watches of clients.
    #[command(subcommand)]
    Watch(watch::WatchVerb),
    /// The programs of the control plane.
    #[command(subcommand)]
    Controlplane(controlplane::ControlplaneVerb),
    /// The lab's own long-lived processes.
    #[command(subcommand, hide = true)]
    Run(run::RunVerb),
}

/// Runs the program. It ends with 0 after success and with 1 after an error; `exec` verbs end with the exit code of
/// their command.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    match args.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn run(&self) -> Result<ExitCode, LabError> {
        let printer = &Printer::new(self.output);
        let open = || Lab::open(&self.dir);
        match &self.verb {
            Verb::Up(arguments) => up::run(&self.dir, arguments, printer)?,
            Verb::Demo(arguments) => return demo::run(&self.dir, arguments, printer),
            Verb::Proof => return proof::run(printer),
            Verb::Apply(arguments) => apply::apply(&open()?, arguments, printer)?,
            Verb::Delete(arguments) => apply::delete(&open()?, arguments, printer)?,
            Verb::Status => status::run(&open()?, printer)?,
            Verb::Down => open()?.down()?,
            Verb::Pod(verb) => return pod::run(&open()?, verb, printer),
            Verb::Node(verb) => return node::run(&open()?, verb, printer),
            Verb::Agent(verb) => process::run_agent(&open()?, verb)?,
            Verb::Tunnel(verb) => process::run_tunnel(&open()?, verb)?,
            Verb::Publisher(verb) => publisher::run(&open()?, verb)?,
            Verb::World(verb) => return world::run(&open()?, verb, printer),
            Verb::Service(verb) => service::run(&open()?, verb)?,
            Verb::Nodeport(verb) => nodeport::run(&open()?, verb)?,
            Verb::Send(arguments) => send::run(arguments)?,
            Verb::Probe(arguments) => println!("{}", probe::probe(arguments)?),
            Verb::Resolve(arguments) => println!("{}", probe::resolve(arguments)?),
            Verb::Names(arguments) => println!("{}", names::report(arguments)?),
            Verb::Forge(verb) => forge::run(verb)?,
            Verb::Kubeconfig(arguments) => kubeconfig::run(&open()?, arguments, printer)?,
            Verb::Kubectl(arguments) => return kubectl::run(&open()?, arguments),
            Verb::Operator(verb) => operator::run(&open()?, verb)?,
            Verb::Apiserver(verb) => apiserver::run(&open()?, verb, printer)?,
            Verb::Etcd(verb) => etcd::run(&open()?, verb)?,
            Verb::Watch(verb) => watch::run(&open()?, verb, printer)?,
            Verb::Controlplane(verb) => controlplane::run(verb, printer)?,
            Verb::Run(verb) => run::run(&open()?, *verb)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Args;

    #[test]
    fn the_arguments_of_each_verb_fit_together() {
        Args::command().debug_assert();
    }
}
