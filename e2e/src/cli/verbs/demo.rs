//! `lab demo`: shows the main job and prints what was checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::{Printer, table};
use crate::cli::progress::Progress;
use crate::lab::{Cluster, Lab, LabError, UpOptions};
use crate::proof::demo::{self, Claims};

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Without an API server: objects are files, and a publisher compiles and signs. Needs no Go.
    #[arg(long)]
    standalone: bool,
    /// Leave the lab up afterwards and print what to try.
    #[arg(long)]
    keep: bool,
    /// The folder of the sample objects.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples"))]
    samples: PathBuf,
}

pub(crate) fn run(
    dir: &Path,
    arguments: &DemoArguments,
    printer: &Printer,
) -> Result<ExitCode, LabError> {
    let mut progress = Progress::begin();
    let mut on_stage = |stage: &str| progress.show(stage);
    let options = UpOptions {
        cluster: if arguments.standalone {
            Cluster::Standalone
        } else {
            Cluster::ApiServer
        },
        ..UpOptions::default()
    };
    let lab = Lab::up(dir, &options, &mut on_stage)?;
    let played = demo::run(&lab, &arguments.samples, &mut on_stage);
    progress.end();
    if let Ok(claims) = &played {
        print_claims(claims, printer)?;
    }
    if arguments.keep {
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

fn print_claims(claims: &Claims, printer: &Printer) -> Result<(), LabError> {
    printer.print(claims, || {
        let mut table = table(&["CLAIM", "SHOULD BE", "WAS", ""]);
        for claim in &claims.list {
            let holds = if claim.holds { "ok" } else { "FAILED" };
            table.add_row([&claim.what, &claim.should, &claim.was, holds]);
        }
        table.to_string()
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
