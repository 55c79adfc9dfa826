//! Calls that fail on request.

use std::collections::BTreeMap;

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
}

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

    /// Counts a call; an error if it is one that fails.
    pub(super) fn meet(&mut self, call: Call) -> Result<(), HostCause> {
        self.made.push(call);
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
