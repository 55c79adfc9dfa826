//! The word to end.

use std::{io, os::fd::AsFd as _, time::Duration};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::error::InstallError;

/// SIGTERM and SIGINT, which wait to be taken from here.
///
/// The kernel throws away what would end the first process of a container if nothing waits for it (`pid_namespaces(7)`),
/// and whoever ended it would wait until it is killed.
pub(super) struct Signals(SignalFd);

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The time was over.
    ByTime,
    /// Somebody wants this process to end.
    BySignal,
}

impl Signals {
    /// Takes them from the calling thread, which must be the only one.
    pub(super) fn taken() -> Result<Self, InstallError> {
        let failed = |error: Errno| InstallError::Signals {
            source: error.into(),
        };
        let both = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        both.thread_block().map_err(failed)?;
        SignalFd::with_flags(&both, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .map_err(failed)
    }

    pub(super) fn wait(&self, time: Duration) -> Result<Woken, InstallError> {
        let mut watched = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, time) {
            Ok(0) | Err(Errno::EINTR) => Ok(Woken::ByTime),
            Ok(_) => Ok(Woken::BySignal),
            Err(error) => Err(InstallError::Signals {
                source: io::Error::from(error),
            }),
        }
    }
}
