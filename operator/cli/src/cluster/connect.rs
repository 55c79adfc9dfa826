//! Which cluster, as whom, and one thread that waits for its answers.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use postern_compile::gate::{Approval, Held};
use tokio::runtime::{Builder, Runtime};

use super::approve;
use super::error::ClusterError;
use super::read::{self, Objects};
use crate::approval::{Effect, Entered};

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);

/// Who asks, in the API server's audit log.
const OURSELVES: HeaderValue =
    HeaderValue::from_static(concat!("posternctl/", env!("CARGO_PKG_VERSION")));

/// Which cluster, as whom, and where Postern is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig; none: what kubectl would take, or the account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; none: the current one.
    pub context: Option<String>,
    /// Namespace of operator and agents.
    pub namespace: String,
}

/// A cluster that can be asked.
pub struct Cluster {
    runtime: Runtime,
    seat: Seat,
}

/// A client, and where Postern is.
pub(super) struct Seat {
    pub(super) client: Client,
    pub(super) namespace: String,
}

impl Cluster {
    /// Finds the cluster. It is not asked anything yet.
    ///
    /// # Errors
    /// [`ClusterError`] of kubeconfig and client.
    pub fn find(access: &Access) -> Result<Self, ClusterError> {
        // Two providers in one program make the TLS library stop the process: whoever came first has chosen the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ClusterError::Runtime)?;
        let client = runtime.block_on(client(access))?;
        let seat = Seat {
            client,
            namespace: access.namespace.clone(),
        };
        Ok(Self { runtime, seat })
    }

    /// What waits for an approval, as the operator last wrote it.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn held(&self) -> Result<Vec<Held>, ClusterError> {
        self.runtime.block_on(read::held(&self.seat))
    }

    /// The objects that tell how things stand.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn objects(&self) -> Result<Objects, ClusterError> {
        self.runtime.block_on(read::objects(&self.seat))
    }

    /// Adds approvals to those that there are, and says for each of them, in order, whether it was there.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn approve(
        &self,
        approvals: &[Approval],
        effect: Effect,
    ) -> Result<Vec<Entered>, ClusterError> {
        let approving = approve::approve(&self.seat, approvals, effect);
        self.runtime.block_on(approving)
    }
}

/// A client that retries nothing by itself: a person sees what failed and decides.
async fn client(access: &Access) -> Result<Client, ClusterError> {
    let mut config = config(access).await?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.headers.push((USER_AGENT, OURSELVES));
    Client::try_from(config).map_err(|source| ClusterError::Client(Box::new(source)))
}

async fn config(access: &Access) -> Result<Config, ClusterError> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let found = match &access.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(|source| unusable(access, source))?;
            Config::from_custom_kubeconfig(read, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    };
    match found {
        Err(error) if is_absent(&error) && asks_for_nothing(access) => {
            Config::incluster().map_err(|_| ClusterError::NoKubeconfig(error))
        }
        other => other.map_err(|source| unusable(access, source)),
    }
}

/// Is there no kubeconfig at all? One that is there and wrong is a mistake to be told, not a reason to ask elsewhere.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(why, _) => why.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

fn asks_for_nothing(access: &Access) -> bool {
    access.kubeconfig.is_none()
        && access.context.is_none()
        && std::env::var_os("KUBECONFIG").is_none()
}

fn unusable(access: &Access, source: KubeconfigError) -> ClusterError {
    match (&access.kubeconfig, &access.context, &source) {
        (_, Some(context), KubeconfigError::LoadContext(_)) => ClusterError::Context {
            context: context.clone(),
            source,
        },
        (Some(path), _, _) => ClusterError::Kubeconfig {
            path: path.clone(),
            source,
        },
        (None, _, _) => ClusterError::NoKubeconfig(source),
    }
}
