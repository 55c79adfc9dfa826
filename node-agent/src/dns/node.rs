//! What the forwarder asks the node it runs on.

use std::future::Future;
use std::net::SocketAddr;

use postern_agent_core::records::NameDecision;
use postern_host::ports::TransportProtocol;
use postern_plan::desired::Lease;
use postern_plan::ruleset::Grant;

use crate::grants::GrantError;

/// Facts that are true at the moment of a question and not in the table.
pub trait DnsNode: Send + Sync + 'static {
    /// The address that the pod asked before it was redirected here; none when it is not known.
    fn original_destination(
        &self,
        protocol: TransportProtocol,
        client: SocketAddr,
        local: SocketAddr,
    ) -> impl Future<Output = Option<SocketAddr>> + Send;

    /// Lets connections to these addresses of the answer for a name through, and returns when the kernel was seen to do so.
    ///
    /// # Errors
    /// [`GrantError`]: none of them counts as let through.
    fn grant(
        &self,
        name: &str,
        grants: Vec<Grant>,
    ) -> impl Future<Output = Result<(), GrantError>> + Send;

    /// Does the lease of the node's intent still run? Without it nothing goes through an exit.
    fn lease(&self) -> Lease;

    /// Keeps a decision about a name, of a policy with `audit`.
    fn record(&self, decision: NameDecision);
}
