//! What the DNS forwarder is told, and what it asks the node.

use std::net::SocketAddr;
use std::time::Instant;

use postern_agent_core::records::NameDecision;
use postern_agent_core::report::QUESTIONS;
use postern_control::dns_check::{DnsCheck, DnsCheckReport};
use postern_host::Flows as _;
use postern_host::ports::TransportProtocol;
use postern_linux::LinuxHost;
use postern_plan::desired::{DnsPlan, Lease};
use postern_plan::ruleset::Grant;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::dns::node::DnsNode;
use crate::dns::{
    BindError, CheckWork, DnsCheckError, DnsCounters, Forwarder, ForwarderOptions, GrantedNames,
    NodeResolvers, OpenResolvers, ResolverCircuits,
};
use crate::grants::{GrantBook, GrantError, GrantSender, write_grants};
use crate::records::NameRecords;

#[derive(Debug)]
pub struct DnsHandle {
    table: watch::Sender<DnsPlan>,
    lease: watch::Sender<Option<Instant>>,
    /// What answers granted.
    pub grants: GrantBook,
    /// Which names brought it.
    pub names: GrantedNames,
    /// The node's own resolvers.
    pub own: NodeResolvers,
    /// Which resolvers are left alone for a while.
    pub circuits: ResolverCircuits,
    open: watch::Receiver<OpenResolvers>,
    checks: mpsc::Sender<CheckWork>,
    counters: DnsCounters,
}

#[derive(Debug)]
pub struct DnsTables {
    table: watch::Receiver<DnsPlan>,
    lease: watch::Receiver<Option<Instant>>,
    grants: GrantBook,
    names: GrantedNames,
    circuits: ResolverCircuits,
    checks: mpsc::Receiver<CheckWork>,
}

impl DnsHandle {
    /// Both ends. Before the first word of the agent nobody is known and nothing has a lease.
    #[must_use]
    pub fn pair(counters: DnsCounters) -> (Self, DnsTables) {
        let (table, table_reader) = watch::channel(DnsPlan::default());
        let (lease, lease_reader) = watch::channel(None);
        let (checks, work) = mpsc::channel(1);
        let tables = DnsTables {
            table: table_reader,
            lease: lease_reader,
            grants: GrantBook::default(),
            names: GrantedNames::default(),
            circuits: ResolverCircuits::new(counters.clone()),
            checks: work,
        };
        let handle = Self {
            table,
            lease,
            grants: tables.grants.clone(),
            names: tables.names.clone(),
            own: NodeResolvers::default(),
            open: tables.circuits.changes(),
            circuits: tables.circuits.clone(),
            checks,
            counters,
        };
        (handle, tables)
    }

    /// Tells the forwarder who may ask what, if anything changed.
    pub fn update(&self, plan: &DnsPlan) {
        let changed = self.table.send_if_modified(|current| {
            let changed = current != plan;
            if changed {
                current.clone_from(plan);
            }
            changed
        });
        if changed {
            self.circuits.keep(plan);
        }
    }

    /// The plans that the forwarder goes by.
    #[must_use]
    pub fn plans(&self) -> watch::Receiver<DnsPlan> {
        self.table.subscribe()
    }

    /// Starts a measurement; its result comes by the receiver.
    ///
    /// # Errors
    /// [`DnsCheckError::Busy`] where it measures already, [`DnsCheckError::NotServed`] where it does not run.
    pub fn check(
        &self,
        wanted: DnsCheck,
    ) -> Result<oneshot::Receiver<Result<DnsCheckReport, DnsCheckError>>, DnsCheckError> {
        let (answer, found) = oneshot::channel();
        match self.checks.try_send((wanted, answer)) {
            Ok(()) => Ok(found),
            Err(TrySendError::Full(_)) => Err(DnsCheckError::Busy),
            Err(TrySendError::Closed(_)) => Err(DnsCheckError::NotServed),
        }
    }

    /// Questions by how they ended, under the names of the report's counters.
    pub fn questions(&self) -> impl Iterator<Item = (String, u64)> {
        let counts = self.counters.snapshot().into_iter();
        counts.map(|(outcome, count)| {
            (
                format!("{QUESTIONS}{}", outcome.name().replace('-', "_")),
                count,
            )
        })
    }

    /// The resolvers that are left alone.
    #[must_use]
    pub fn open_resolvers(&self) -> OpenResolvers {
        self.open.borrow().clone()
    }

    /// Waits until there are others.
    ///
    /// # Errors
    /// Never while the agent runs: it holds the sender too.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.open.changed().await
    }

    /// Tells the forwarder until when the lease runs; none: it does not.
    pub fn lease(&self, until: Option<Instant>) {
        self.lease.send_replace(until);
    }
}

/// The node as the forwarder asks it.
struct KernelNode {
    host: LinuxHost,
    lease: watch::Receiver<Option<Instant>>,
    grants: GrantSender,
    names: GrantedNames,
    records: NameRecords,
}

impl DnsNode for KernelNode {
    async fn original_destination(
        &self,
        protocol: TransportProtocol,
        client: SocketAddr,
        local: SocketAddr,
    ) -> Option<SocketAddr> {
        match self
            .host
            .original_destination(protocol, client, local)
            .await
        {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a flow cannot be found"
                );
                None
            }
        }
    }

    async fn grant(&self, name: &str, grants: Vec<Grant>) -> Result<(), GrantError> {
        self.grants.grant(grants.clone()).await?;
        self.names.note(name, &grants);
        Ok(())
    }

    fn lease(&self) -> Lease {
        match *self.lease.borrow() {
            Some(until) if until > Instant::now() => Lease::Runs,
            _ => Lease::RanOut,
        }
    }

    fn record(&self, decision: NameDecision) {
        self.records.record(decision);
    }
}

/// Starts the forwarder of this node in a task of its own.
///
/// # Errors
/// [`BindError`] when its port is taken.
pub fn start(
    options: ForwarderOptions,
    tables: DnsTables,
    host: LinuxHost,
    counters: DnsCounters,
    records: NameRecords,
) -> Result<(), BindError> {
    let (grants, requests) = GrantSender::pair();
    let node = KernelNode {
        host: host.clone(),
        lease: tables.lease,
        grants,
        names: tables.names,
        records,
    };
    let forwarder = Forwarder::bind(options, tables.table, node, counters, tables.circuits)?;
    tokio::spawn(write_grants(host, tables.grants, requests));
    tokio::spawn(forwarder.run(tables.checks));
    Ok(())
}
