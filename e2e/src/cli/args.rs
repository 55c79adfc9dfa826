//! The arguments of `lab`.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::cli::plane::{ControlplaneVerb, PlaneVerb};
use crate::lab::TrafficPolicy;
use crate::lab::traffic::forge::ForgeVerb;
use crate::lab::traffic::probe::{ProbeArgs, ResolveArgs};
use crate::lab::traffic::send::SendArgs;

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
    pub(crate) verb: Verb,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build the programs and bring up a cluster with a world behind it: on a Kubernetes API server, or on files.
    Up(UpArgs),
    /// Show the main job end to end: a lab, the samples, pods that send, what is killed meanwhile, and the proof.
    Demo(DemoArgs),
    /// Put together what the leak cases have shown, and fail if one of the listed events is absent or does not hold.
    Proof,
    /// Write objects (exits, policies, namespaces, ...) into the lab's cluster.
    Apply(FileArgs),
    /// Remove objects from the lab's cluster.
    Delete(FileArgs),
    /// Show what runs and what the nodes report.
    Status,
    /// Take everything down, and fail if anything is left.
    Down,
    /// Create, delete, enter and list pods.
    #[command(subcommand)]
    Pod(PodVerb),
    /// List and enter nodes.
    #[command(subcommand)]
    Node(NodeVerb),
    /// Kill, stop and start the agent of a node.
    #[command(subcommand)]
    Agent(ProcessVerb),
    /// Kill and start the tunnel process of a node.
    #[command(subcommand)]
    Tunnel(ProcessVerb),
    /// Stop and start the publisher, which compiles and signs intents.
    #[command(subcommand)]
    Publisher(PublisherVerb),
    /// Ask the outside world what it saw.
    #[command(subcommand)]
    World(WorldVerb),
    /// Make services with an address of their own.
    #[command(subcommand)]
    Service(ServiceVerb),
    /// Make services on a port of every node.
    #[command(subcommand)]
    Nodeport(NodeportVerb),
    /// Send all the time, as a pod's command: TCP, UDP and ICMP to $WORLD and $WORLD6.
    Send(SendArgs),
    /// Ask somebody once from here (in a pod: `pod exec`), and print the source address that was seen.
    Probe(ProbeArgs),
    /// Ask a DNS server for a name from here.
    Resolve(ResolveArgs),
    /// Send packets that no honest program sends from here: forged sources, frames, announcements.
    #[command(subcommand)]
    Forge(ForgeVerb),
    #[command(flatten)]
    Plane(PlaneVerb),
    /// The programs of the control plane.
    #[command(subcommand)]
    Controlplane(ControlplaneVerb),
    /// The lab's own long-lived processes.
    #[command(subcommand, hide = true)]
    Run(RunVerb),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UpArgs {
    /// Without a Kubernetes control plane: objects are files, a publisher compiles and signs.
    #[arg(long)]
    pub(crate) standalone: bool,
    /// Number of nodes, gateways included.
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: u8,
    /// How many of the nodes carry the label `postern.dev/exit: gw-<i>`.
    #[arg(long, default_value_t = 1)]
    pub(crate) gateways: u8,
    /// Do not chain postern-cni behind the cluster's CNI plugins.
    #[arg(long)]
    pub(crate) no_plugin: bool,
    /// How long an intent is valid.
    #[arg(long, default_value = "24h")]
    pub(crate) validity: SignedDuration,
    /// How long an unchanged intent is kept before it is signed anew.
    #[arg(long, default_value = "1h")]
    pub(crate) refresh: SignedDuration,
    /// How long the publisher waits before it looks at a new report.
    #[arg(long, default_value = "0s")]
    pub(crate) report_delay: SignedDuration,
    /// How long the publisher waits before it writes an intent.
    #[arg(long, default_value = "0s")]
    pub(crate) intent_delay: SignedDuration,
    /// Let the operators make traces, and write each span as a line of JSON into DIR/cp/spans.jsonl.
    #[arg(long, conflicts_with = "standalone")]
    pub(crate) collector: bool,
    /// A further argument of every agent, `--agent-argument=--repair=off`; may repeat.
    #[arg(long, hide = true)]
    pub(crate) agent_argument: Vec<String>,
    /// No Postern programs at all: a plain cluster.
    #[arg(long, hide = true)]
    pub(crate) bare: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// Without an API server: objects are files, and a publisher compiles and signs. Needs no Go.
    #[arg(long)]
    pub(crate) standalone: bool,
    /// Leave the lab up afterwards and print what to try.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The folder of the sample objects.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples"))]
    pub(crate) samples: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FileArgs {
    /// A file, a folder of YAML files, or `-` for standard input.
    #[arg(long, short)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PodVerb {
    /// Create a pod in the order of a real kubelet: object, CNI, process, and its address in the status.
    Create(PodCreateArgs),
    /// Delete a pod: its processes, its network, its object.
    Delete {
        /// NAMESPACE/NAME
        pod: String,
    },
    /// Run a command in a pod's network namespace; its exit code is this program's.
    Exec {
        /// NAMESPACE/NAME
        pod: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// List the running pods with their addresses and the world addresses that are their own.
    List,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PodCreateArgs {
    /// NAMESPACE/NAME
    pub(crate) pod: String,
    /// The node it runs on.
    #[arg(long)]
    pub(crate) node: String,
    /// A label, KEY=VALUE; may repeat.
    #[arg(long, short, value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Time between process start and the address in the Pod's status.
    #[arg(long, default_value = "1s")]
    pub(crate) status_delay: SignedDuration,
    /// How long CNI plugins may say "try again later".
    #[arg(long, default_value = "60s")]
    pub(crate) timeout: SignedDuration,
    /// An address to ask for; may repeat, once per family.
    #[arg(long)]
    pub(crate) address: Vec<IpAddr>,
    /// The pod's first process; it sleeps for ever without one.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// List the nodes.
    List,
    /// Run a command in a node's network and mount namespaces; its exit code is this program's.
    Exec {
        /// The node.
        node: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Put back what a flush of a node's ruleset took from the CNI and from kube-proxy.
    Restore {
        /// The node.
        node: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProcessVerb {
    /// Kill it with everything in its PID namespace and control group; it stays dead until it is started.
    Kill {
        /// The node.
        node: String,
    },
    /// Ask it to end (SIGTERM) and wait for that.
    Stop {
        /// The node.
        node: String,
    },
    /// Start it, unless it runs.
    Start {
        /// The node.
        node: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PublisherVerb {
    /// Stop it: nothing is compiled any more.
    Stop,
    /// Start it, unless it runs.
    Start,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorldVerb {
    /// What left the nodes, from where, for whom, and what of it should not have.
    Packets {
        /// Count only from this time on (RFC 3339).
        #[arg(long)]
        since: Option<Timestamp>,
    },
    /// Run a command in the world; its exit code is this program's.
    Exec {
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Make a service; its endpoint may be a pod, a node or in the world.
    Create {
        /// Its name.
        name: String,
        /// Its address, of the service range.
        #[arg(long)]
        cluster_ip: IpAddr,
        /// Its port; the endpoint's port without one.
        #[arg(long)]
        port: Option<u16>,
        /// The endpoint, ADDRESS:PORT (`[ADDRESS]:PORT` for IPv6).
        #[arg(long)]
        to: SocketAddr,
    },
    /// Remove a service.
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeportVerb {
    /// Make a node port.
    Create {
        /// Its name.
        name: String,
        /// The port of every node.
        #[arg(long)]
        port: u16,
        /// The endpoint, ADDRESS:PORT (`[ADDRESS]:PORT` for IPv6).
        #[arg(long)]
        to: SocketAddr,
        /// externalTrafficPolicy: with `cluster` the client's address is masqueraded.
        #[arg(long, default_value = "cluster")]
        policy: TrafficPolicy,
    },
    /// Remove a node port.
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum RunVerb {
    /// Echo, HTTP and DNS on every world address.
    World,
    /// The packet capture and the history.
    Monitor,
    /// The cluster's resolver.
    Resolver,
    /// Compile and sign at every change.
    Publisher,
    /// Make pods out of Pod objects, and take them down again.
    Kubelet,
    /// Lead connections from outside to the API server.
    Forward,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "write it as KEY=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
