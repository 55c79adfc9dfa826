//! Which cluster, as whom, and one thread that waits for its answers.

use std::ops::ControlFlow;
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use postern_apiserver::{ConnectError, Endpoint, KubeconfigTrust, Requests, ServerAddress};
use postern_compile::gate::{Approval, PendingApproval};
use postern_crds::{EgressPolicy, ExitNode, NodeIntent};
use tokio::runtime::{Builder, Runtime};

use super::approve;
use super::changes;
use super::error::ClusterError;
use super::exit;
use super::look::{self, PodView, PolicyView, ReadExits};
use super::namespace_client::NamespaceClient;
use super::read::{self, ClusterObjects, ReadResult};
use super::removal;
use super::survey;
use crate::approval::{ApprovalEntry, Effect};
use crate::doctor::DoctorSnapshot;
use crate::install::InstallReading;
use crate::uninstall::{RemovalAct, UninstallReading};

/// Who asks, in the API server's audit log.
const USER_AGENT: &str = concat!("posternctl/", env!("CARGO_PKG_VERSION"));

/// Which cluster, as whom, and where Postern is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// A kubeconfig; none: what kubectl would take, or the account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; none: the current one.
    pub context: Option<String>,
    /// Namespace of operator and agents.
    pub namespace: String,
}

/// A cluster that can be asked.
pub struct ClusterConnection {
    runtime: Runtime,
    seat: NamespaceClient,
}

impl ClusterConnection {
    /// Finds the cluster. It is not asked anything yet.
    ///
    /// # Errors
    /// [`ClusterError`] of kubeconfig and client.
    pub fn find(access: &ClusterOptions) -> Result<Self, ClusterError> {
        // Two providers in one program make the TLS library stop the process: an earlier caller has chosen the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ClusterError::Runtime)?;
        let client = runtime.block_on(client(access));
        let client = client.map_err(ClusterError::Connect)?;
        let seat = NamespaceClient {
            client,
            namespace: access.namespace.clone(),
        };
        Ok(Self { runtime, seat })
    }

    /// What waits for an approval, as the operator last wrote it.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn held(&self) -> Result<Vec<PendingApproval>, ClusterError> {
        self.runtime.block_on(read::held(&self.seat))
    }

    /// The objects that show the state of policies, exits and nodes.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn objects(&self) -> Result<ClusterObjects, ClusterError> {
        self.runtime.block_on(read::objects(&self.seat))
    }

    /// What an installation depends on.
    ///
    /// # Errors
    /// [`ClusterError`]; what may not be read is in the answer.
    pub fn install_reading(&self) -> Result<InstallReading, ClusterError> {
        self.runtime.block_on(survey::install_reading(&self.seat))
    }

    /// What there is of Postern.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn uninstall_reading(&self) -> Result<UninstallReading, ClusterError> {
        self.runtime
            .block_on(removal::uninstall_reading(&self.seat))
    }

    /// Does one thing of an uninstallation.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn remove(&self, act: &RemovalAct) -> Result<(), ClusterError> {
        self.runtime.block_on(removal::remove(&self.seat, act))
    }

    /// What [`DoctorReport`](crate::doctor::DoctorReport) looks at.
    ///
    /// # Errors
    /// [`ClusterError`]; of Lease and nodes what may not be read is in the answer.
    pub fn snapshot(&self, now: Timestamp) -> Result<DoctorSnapshot, ClusterError> {
        self.runtime.block_on(survey::snapshot(&self.seat, now))
    }

    /// Shows how the cluster is, now and after each change, until Ctrl-C or until who is shown it breaks off.
    ///
    /// # Errors
    /// [`ClusterError`] before the first time; afterwards it is tried again.
    pub fn follow(
        &self,
        show: &mut dyn FnMut(&DoctorSnapshot) -> ControlFlow<()>,
    ) -> Result<(), ClusterError> {
        self.runtime.block_on(async {
            tokio::select! {
                ended = changes::follow(&self.seat, show) => ended,
                interrupted = tokio::signal::ctrl_c() => interrupted.map_err(ClusterError::Runtime),
            }
        })
    }

    /// A pod with what decides about it, but its exits; none: there is no such pod.
    ///
    /// # Errors
    /// [`ClusterError`]; what may not be read beside the pod is in the answer.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodView>, ClusterError> {
        self.runtime
            .block_on(look::pod(&self.seat, namespace, name))
    }

    /// A pod alone; none: there is no such pod.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn bare_pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, ClusterError> {
        self.runtime
            .block_on(look::bare_pod(&self.seat, namespace, name))
    }

    /// An exit; none: there is no such exit.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn exit(&self, name: &str) -> Result<Option<ExitNode>, ClusterError> {
        self.runtime.block_on(exit::exit(&self.seat, name))
    }

    /// Sets an annotation of an exit, or removes it.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn annotate_exit(
        &self,
        name: &str,
        annotation: &str,
        value: Option<&str>,
    ) -> Result<(), ClusterError> {
        let annotating = exit::annotate(&self.seat, name, annotation, value);
        self.runtime.block_on(annotating)
    }

    /// The exits that a policy names.
    ///
    /// # Errors
    /// [`ClusterError`]; an exit that may not be read is in the answer.
    pub fn exits(&self, policy: &EgressPolicy) -> Result<ReadExits, ClusterError> {
        self.runtime.block_on(look::exits(&self.seat, policy))
    }

    /// What is published for a node, or for all nodes; none: nothing is.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn intent(&self, name: &str) -> Result<Option<ReadResult<NodeIntent>>, ClusterError> {
        self.runtime.block_on(look::intent(&self.seat, name))
    }

    /// A policy with the exits that it names; none: there is no such policy.
    ///
    /// # Errors
    /// [`ClusterError`]; an exit that may not be read is in the answer.
    pub fn policy(&self, namespace: &str, name: &str) -> Result<Option<PolicyView>, ClusterError> {
        self.runtime
            .block_on(look::policy(&self.seat, namespace, name))
    }

    /// Adds approvals to those that there are, and says for each of them, in order, whether it was there.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn approve(
        &self,
        approvals: &[Approval],
        effect: Effect,
    ) -> Result<Vec<ApprovalEntry>, ClusterError> {
        let approving = approve::approve(&self.seat, approvals, effect);
        self.runtime.block_on(approving)
    }
}

/// A client that retries nothing by itself: a person sees what failed and decides.
async fn client(access: &ClusterOptions) -> Result<Client, ConnectError> {
    let endpoint = Endpoint {
        address: access
            .kubeconfig
            .clone()
            .map_or(ServerAddress::Kubectl, ServerAddress::Kubeconfig),
        context: access.context.clone(),
        trust: KubeconfigTrust::Person,
    };
    let config = postern_apiserver::config(&endpoint, USER_AGENT).await?;
    postern_apiserver::client(config, Requests::default())
}
