//! Calls that fail on request.

use std::collections::BTreeMap;
use std::time::Duration;

use postern_host::error::HostCause;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    ListLinks,
    AddLink,
    RemoveLink,
    SetMtu,
    SetState,
    AddAddress,
    RemoveAddress,
    GetDevice,
    SetDevice,
    ListRoutes,
    DefaultUplinks,
    AddRoute,
    RemoveRoute,
    ListRules,
    AddRule,
    RemoveRule,
    ListLocks,
    AddLock,
    ReplaceLock,
    RemoveLock,
    ChangeFirewall,
    ReadFirewall,
    CutFlows,
    OriginalDestination,
    TunnelBackend,
    ReadTunnel,
    ConfigureTunnel,
    RemovePeer,
    DismissTunnel,
    Bypasses,
    ListEgress,
    KeepEgress,
    DropEgress,
    AskNeighbours,
    AnnounceEgress,
}

impl Call {
    /// Does a call of this kind change the host?
    const fn changes_the_host(self) -> bool {
        match self {
            Self::AddLink
            | Self::RemoveLink
            | Self::SetMtu
            | Self::SetState
            | Self::AddAddress
            | Self::RemoveAddress
            | Self::SetDevice
            | Self::AddRoute
            | Self::RemoveRoute
            | Self::AddRule
            | Self::RemoveRule
            | Self::AddLock
            | Self::ReplaceLock
            | Self::RemoveLock
            | Self::ChangeFirewall
            | Self::CutFlows
            | Self::ConfigureTunnel
            | Self::RemovePeer
            | Self::DismissTunnel
            | Self::KeepEgress
            | Self::DropEgress
            | Self::AnnounceEgress => true,
            Self::ListLinks
            | Self::GetDevice
            | Self::ListRoutes
            | Self::DefaultUplinks
            | Self::ListRules
            | Self::ListLocks
            | Self::ReadFirewall
            | Self::OriginalDestination
            | Self::TunnelBackend
            | Self::ReadTunnel
            | Self::Bypasses
            | Self::ListEgress
            | Self::AskNeighbours => false,
        }
    }
}

/// What a call unwinds with when the program that makes it has died
/// ([`FakeHost::lets_the_agent_die_before_change`](super::FakeHost::lets_the_agent_die_before_change)).
#[derive(Debug, Clone, Copy)]
pub struct ProgramDied;

#[derive(Debug)]
struct InjectedFault {
    /// Calls that succeed before.
    before: usize,
    /// Calls that fail then.
    times: usize,
    errno: i32,
}

/// Calls that fail, and every call that was made.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: BTreeMap<Call, InjectedFault>,
    /// Changes that are made before the program dies.
    lives_for: Option<usize>,
    slow: BTreeMap<Call, Duration>,
    pub(super) made: Vec<Call>,
}

impl Faults {
    pub(super) fn plan(&mut self, call: Call, nth: usize, times: usize, errno: i32) {
        self.planned.insert(
            call,
            InjectedFault {
                before: nth.saturating_sub(1),
                times,
                errno,
            },
        );
    }

    pub(super) const fn die_before(&mut self, change: Option<usize>) {
        self.lives_for = change;
    }

    pub(super) fn delay(&mut self, call: Call, by: Duration) {
        self.slow.insert(call, by);
    }

    /// Counts a call; an error if it is one that fails.
    pub(super) fn meet(&mut self, call: Call) -> Result<(), HostCause> {
        if let Some(left) = self.lives_for.as_mut().filter(|_| call.changes_the_host()) {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                // Unwinding and not an error: a program that was killed writes no file after its last change.
                None => std::panic::resume_unwind(Box::new(ProgramDied)),
            }
        }
        self.made.push(call);
        if let Some(by) = self.slow.get(&call) {
            std::thread::sleep(*by);
        }
        let Some(fault) = self.planned.get_mut(&call) else {
            return Ok(());
        };
        if fault.before > 0 {
            fault.before -= 1;
            return Ok(());
        }
        if fault.times == 0 {
            self.planned.remove(&call);
            return Ok(());
        }
        fault.times -= 1;
        Err(HostCause::errno(fault.errno))
    }
}
