//! Beside the agent: program and entry are put in place, and back in place whenever somebody else has changed that.

use std::time::Duration;

use super::{
    error::InstallError,
    node::{Done, EntryAttempt, NodePaths},
    place,
    signals::{Signals, Woken},
};

/// A pod that starts between somebody's change and ours has no binding, so there is little time between two looks. A look
/// reads a folder and one short file.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps both in place until a signal comes, and leaves both there then: without the entry pods would start past the
/// agent. What does not work is told and tried again, because nothing of the agent depends on it.
///
/// # Errors
/// [`InstallError::Signals`].
pub(super) fn keep(node: &NodePaths, tell: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let signals = Signals::taken()?;
    let mut program = Program { node, right: None };
    let (mut of_program, mut of_entry) = (Told::default(), Told::default());
    loop {
        let done = program.look();
        let is_there = done.is_ok();
        of_program.tell(done.map(EntryAttempt::Done), tell);
        // An entry without a program fails every pod.
        if is_there {
            of_entry.tell(node.put_entry(), tell);
        }
        if signals.wait(LOOK_AGAIN)? == Woken::BySignal {
            tell("ending; program and entry stay where they are");
            return Ok(());
        }
    }
}

/// The program, compared byte for byte only after something about its file has changed.
struct Program<'a> {
    node: &'a NodePaths,
    right: Option<place::FileStamp>,
}

impl Program<'_> {
    fn look(&mut self) -> Result<Done, InstallError> {
        let path = self.node.program();
        if self.right.is_some() && self.right == place::stamp(&path) {
            return Ok(Done::Unchanged(path));
        }
        let done = self.node.put_program();
        self.right = match done {
            Ok(_) => place::stamp(&path),
            Err(_) => None,
        };
        done
    }
}

/// What was said last: the same is not said at every look, but each change is.
#[derive(Default)]
struct Told(String);

impl Told {
    fn tell(&mut self, outcome: Result<EntryAttempt, InstallError>, tell: &mut dyn FnMut(&str)) {
        let text = match outcome {
            Ok(EntryAttempt::Done(done @ Done::Changed(_))) => {
                tell(&done.to_string());
                self.0 = done.settled().to_string();
                return;
            }
            Ok(EntryAttempt::Done(done)) => done.to_string(),
            Ok(EntryAttempt::Waits(what)) => what,
            Err(error) => error.chain(),
        };
        if self.0 != text {
            tell(&text);
            self.0 = text;
        }
    }
}
