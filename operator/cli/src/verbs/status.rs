//! `posternctl status`: policies, exits and nodes of a cluster, once or at each change.

use std::io::Write as _;
use std::ops::ControlFlow;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::doctor::{DoctorReport, DoctorSnapshot, GravityCounts};
use crate::output::{Format, TableOutput, render};
use crate::overview::ClusterOverview;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Go on, and print it again with the time whenever something changes; Ctrl-C ends it.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// The overview, and the number of findings of `posternctl doctor`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct StatusAnswer {
    #[serde(flatten)]
    overview: ClusterOverview,
    found: GravityCounts,
    #[serde(skip)]
    summary: String,
}

impl StatusAnswer {
    fn of(snapshot: &DoctorSnapshot) -> Self {
        let report = DoctorReport::of(snapshot);
        let advice = match report.is_well() {
            true => "",
            false => "; posternctl doctor says what to do",
        };
        Self {
            overview: ClusterOverview::of(&snapshot.objects, snapshot.now),
            found: report.counts(),
            summary: format!("{}{advice}", report.summary()),
        }
    }
}

impl TableOutput for StatusAnswer {
    fn table(&self) -> String {
        format!("{}\n{}", self.overview.table(), self.summary)
    }

    fn is_well(&self) -> bool {
        self.overview.is_well()
    }
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let cluster = arguments.cluster.find()?;
    if !arguments.watch {
        let snapshot = cluster.snapshot(Timestamp::now())?;
        return VerbAnswer::of(&StatusAnswer::of(&snapshot), format);
    }
    let mut shown: Option<StatusAnswer> = None;
    let mut failed = None;
    cluster.follow(&mut |snapshot| {
        let answer = StatusAnswer::of(snapshot);
        let timeless = StatusAnswer {
            overview: answer.overview.clone().timeless(),
            ..answer.clone()
        };
        if shown.as_ref() == Some(&timeless) {
            return ControlFlow::Continue(());
        }
        shown = Some(timeless);
        let text = match render(&answer, format) {
            Ok(text) => text,
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        };
        // Who closed the pipe wants no more of it.
        match writeln!(std::io::stdout(), "{:.0}\n{text}\n", snapshot.now) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(VerbAnswer {
            text: String::new(),
            end: match shown.is_none_or(|last| last.is_well()) {
                true => VerbEnd::Well,
                false => VerbEnd::Findings,
            },
        }),
    }
}
