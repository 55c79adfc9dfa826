//! `posternctl uninstall`: Postern away, in the order that opens nothing before it is released.

use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::cluster::ClusterConnection;
use crate::output::{Format, render};
use crate::uninstall::{
    StepResult, UninstallReading, UninstallResult, UninstallStep, acts, by_hand, left, unreleased,
};

/// How often the cluster is looked at while something is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// List the steps and what each of them would do now. Nothing is changed.
    #[arg(long)]
    dry_run: bool,
    /// Do it. Afterwards nothing holds any pod.
    #[arg(long, required_unless_present = "dry_run", conflicts_with = "dry_run")]
    yes: bool,
    /// Why, for the ledgers and the audit logs of the nodes.
    #[arg(long, default_value = "uninstall")]
    reason: String,
    /// How long each step may take. What was done until then stays done, and a second run goes on from there.
    #[arg(long, default_value = "10m")]
    timeout: SignedDuration,
    /// Leave the definitions of the six kinds. Their objects are deleted all the same.
    #[arg(long)]
    keep_definitions: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Arguments {
    fn steps(&self) -> Vec<UninstallStep> {
        let is_kept =
            |step: &UninstallStep| !(self.keep_definitions && *step == UninstallStep::Definitions);
        UninstallStep::ALL.into_iter().filter(is_kept).collect()
    }
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let cluster = arguments.cluster.find()?;
    let reading = cluster.uninstall_reading()?;
    let by_hand = by_hand(reading.operator.as_ref(), arguments.cluster.namespace());
    let steps = match arguments.dry_run {
        true => plan(arguments, &reading),
        false => remove(arguments, &cluster)?,
    };
    let result = UninstallResult {
        dry_run: arguments.dry_run,
        steps,
        by_hand,
    };
    Ok(VerbAnswer {
        text: render(&result, format)?,
        end: VerbEnd::Well,
    })
}

/// What each step would do if it began now.
fn plan(arguments: &Arguments, reading: &UninstallReading) -> Vec<StepResult> {
    let of = |step: UninstallStep| {
        let acts = acts(step, reading, &arguments.reason).into_iter();
        StepResult {
            step,
            acts: acts.map(|act| act.to_string()).collect(),
            left: left(step, reading, Timestamp::now()),
        }
    };
    arguments.steps().into_iter().map(of).collect()
}

fn remove(
    arguments: &Arguments,
    cluster: &ClusterConnection,
) -> Result<Vec<StepResult>, VerbError> {
    let steps = arguments.steps();
    let count = steps.len();
    let mut done = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        tell(&format!(
            "step {} of {count}: {}",
            number + 1,
            step.sentence()
        ));
        done.push(take(arguments, cluster, step)?);
    }
    Ok(done)
}

/// One step to its end.
fn take(
    arguments: &Arguments,
    cluster: &ClusterConnection,
    step: UninstallStep,
) -> Result<StepResult, VerbError> {
    let began = Instant::now();
    let mut result = StepResult {
        step,
        acts: Vec::new(),
        left: Vec::new(),
    };
    let mut told = Vec::new();
    loop {
        let reading = cluster.uninstall_reading()?;
        let guarded = unreleased(&reading);
        if step.needs_released_nodes() && !guarded.is_empty() {
            return Err(VerbError::StillGuarded {
                nodes: guarded.join("; "),
            });
        }
        // A node is released as a whole: a policy that came back meanwhile would be released with it, unasked.
        let policies = left(UninstallStep::Policies, &reading, Timestamp::now());
        if step.needs_no_policies() && !policies.is_empty() {
            return Err(VerbError::PolicyIsBack {
                policies: policies.join("; "),
            });
        }
        let left = left(step, &reading, Timestamp::now());
        if left.is_empty() {
            return Ok(result);
        }
        for act in acts(step, &reading, &arguments.reason) {
            cluster.remove(&act)?;
            tell(&format!("  {act}"));
            result.acts.push(act.to_string());
        }
        if left != told {
            left.iter()
                .for_each(|line| tell(&format!("  waits: {line}")));
            told.clone_from(&left);
        }
        if began.elapsed() > arguments.timeout.unsigned_abs() {
            return Err(VerbError::NotRemoved {
                act: step.sentence(),
                timeout: arguments.timeout,
                left: left.join("; "),
            });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Prints progress on standard error; the answer goes to standard output. A closed standard error is no failure.
fn tell(line: &str) {
    let now = Timestamp::now();
    let _ = writeln!(std::io::stderr(), "{now:.0} {line}");
}
