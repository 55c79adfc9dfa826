//! Types and devices that the cases share.

use postern_intent::IfName;
use postern_plan::flow::FlowEntry;
use postern_plan::host::{AdminState, LockPolicy, TunnelBackend, TunnelLink};

use postern_host::error::HostError;
use postern_host::ports::Host;

/// Another program on the same host, for example `ip` in the hands of an administrator.
pub trait OtherProgram: Send + Sync {
    /// Brings a link down or up.
    fn sets_state(&self, link: &str, state: AdminState) -> impl Future<Output = ()> + Send;
    fn removes_link(&self, link: &str) -> impl Future<Output = ()> + Send;
    /// `nft flush ruleset`.
    fn flushes_the_firewall(&self) -> impl Future<Output = ()> + Send;
    /// Adds an XFRM policy of its own.
    fn adds_lock(&self, policy: &LockPolicy) -> impl Future<Output = ()> + Send;
    /// How many policies of its own are there.
    fn lists_locks(&self) -> impl Future<Output = usize> + Send;
    /// Makes an entry of connection tracking, as `conntrack -I` does.
    fn opens_flow(&self, flow: &FlowEntry) -> impl Future<Output = ()> + Send;
}

/// What a case ends with; a broken rule panics with its sentence.
pub type CaseResult = Result<(), HostError>;

/// The device of the cases.
pub const DEVICE: &str = "pst-c-eu";

/// The name of a tunnel device.
#[must_use]
pub fn device(name: &str) -> IfName {
    match name.parse() {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

pub(crate) fn tunnel_link() -> TunnelLink {
    TunnelLink {
        name: device(DEVICE),
        mtu: 1400,
        backend: TunnelBackend::Userspace,
    }
}

/// A device that is there and up.
pub(crate) async fn tunnel_up(host: &impl Host) -> CaseResult {
    host.add_link(&tunnel_link()).await?;
    host.set_state(&device(DEVICE), AdminState::Up).await
}

/// Did the host refuse, with this number?
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(outcome: &Result<T, HostError>, errno: i32, rule: &str) {
    let answer = outcome.as_ref().err().and_then(HostError::errno);
    assert_eq!(answer, Some(errno), "{rule}: {outcome:?}");
}
