//! One file for each verb.

mod answer;
mod approve;
mod bodies;
mod compile;
mod completion;
mod dns;
mod doctor;
mod error;
mod exit;
mod explain;
mod graph;
mod inputs;
mod install;
mod keygen;
mod man;
mod packet;
mod plan;
mod sign;
mod source;
mod status;
mod uninstall;
mod verify;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::output::Format;

pub use answer::{VerbAnswer, VerbEnd};
pub use error::VerbError;

/// The command line of Postern. Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 3 done, but something is
/// refused, blocked, not in force yet or waits for an approval; 4 a document was refused.
#[derive(Debug, Parser)]
#[command(name = "posternctl", version, about, long_about = None)]
pub struct Cli {
    /// How to say it.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compile manifests and reports into signed intents, offline.
    Compile(compile::Arguments),
    /// Show what a compile would change on the nodes: nft, routes, WireGuard, XFRM, DNS. Nothing is written.
    Plan(plan::Arguments),
    /// Say why a pod leaves as it does, or what a policy does to which pods.
    Explain(explain::Arguments),
    /// Verify a signed document as a node would.
    Verify(verify::Arguments),
    /// Make a signing key and the trust file that belongs to it.
    Keygen(keygen::Arguments),
    /// Say how policies, exits and nodes of a cluster stand, and what waits for an approval.
    Status(status::Arguments),
    /// Say what is wrong and what to do about it, the gravest first; exit code 0 only where nothing is.
    Doctor(doctor::Arguments),
    /// Choose the gateway of an exit, or take the exit out of use.
    Exit(exit::Arguments),
    /// Approve a release that waits, on a cluster or in files; without a name: list what waits.
    Approve(approve::Arguments),
    /// Find out whether a cluster can have Postern.
    Install(install::Arguments),
    /// Take Postern out of a cluster, in the order that opens nothing before it is released.
    Uninstall(uninstall::Arguments),
    /// Measure names on the node that this runs on.
    Dns(dns::Arguments),
    /// Draw which traffic goes where: policies, exits, gateways, uplinks, client nodes.
    Graph(graph::Arguments),
    /// Print the completion of a shell.
    Completion(completion::Arguments),
    /// Write manual pages.
    Man(man::Arguments),
    /// Sign a document as it is. For tests: nothing is checked.
    #[command(hide = true)]
    Sign(sign::Arguments),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn run(&self) -> Result<VerbAnswer, VerbError> {
        match &self.verb {
            Verb::Compile(arguments) => compile::run(arguments, self.output),
            Verb::Plan(arguments) => plan::run(arguments, self.output),
            Verb::Explain(arguments) => explain::run(arguments, self.output),
            Verb::Verify(arguments) => verify::run(arguments, self.output),
            Verb::Keygen(arguments) => keygen::run(arguments),
            Verb::Status(arguments) => status::run(arguments, self.output),
            Verb::Doctor(arguments) => doctor::run(arguments, self.output),
            Verb::Exit(arguments) => exit::run(arguments, self.output),
            Verb::Approve(arguments) => approve::run(arguments, self.output),
            Verb::Install(arguments) => install::run(arguments, self.output),
            Verb::Uninstall(arguments) => uninstall::run(arguments, self.output),
            Verb::Dns(arguments) => dns::run(arguments, self.output),
            Verb::Graph(arguments) => graph::run(arguments, self.output),
            Verb::Completion(arguments) => Ok(completion::run(arguments, Self::command())),
            Verb::Man(arguments) => man::run(arguments, Self::command()),
            Verb::Sign(arguments) => sign::run(arguments),
        }
    }
}
