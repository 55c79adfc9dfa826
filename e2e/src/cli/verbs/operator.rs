//! `lab operator`: kills, stops, starts and pauses the operators.

use clap::Subcommand;

use crate::cluster::{OPERATORS, operator_name};
use crate::lab::{Lab, LabError};

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

pub(crate) fn run(lab: &Lab, verb: &OperatorVerb) -> Result<(), LabError> {
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
