//! What can go wrong with a verb.

use std::path::PathBuf;

use jiff::SignedDuration;
use postern_control::ControlError;
use thiserror::Error;

use crate::cluster::ClusterError;
use crate::explained::PacketError;
use crate::files::FilesError;
use crate::keys::KeyFileError;
use crate::output::OutputError;

/// Why a verb could not be done.
#[derive(Debug, Error)]
pub enum VerbError {
    /// Files could not be read or written.
    #[error("the files cannot be worked with")]
    Files(#[source] FilesError),
    /// A key could not be had.
    #[error("a key cannot be used")]
    Keys(#[source] KeyFileError),
    /// The result could not be printed.
    #[error("the result cannot be printed")]
    Output(#[source] OutputError),
    /// A file stands where a new one should be written.
    #[error("{0:?} is already there; move it away first, a lost key cannot be made again")]
    Exists(PathBuf),
    /// A document is not of the expected form.
    #[error("{path:?} is not of the expected form")]
    Document {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// A file of wg-quick cannot be imported.
    #[error("{path:?} cannot be imported")]
    Conf {
        path: PathBuf,
        #[source]
        source: crate::wireguard_conf::ConfError,
    },
    /// A document cannot be signed.
    #[error("the document cannot be signed")]
    Sign(#[source] postern_intent::sign::SignError),
    /// There is no such object among the inputs.
    #[error("there is no {kind} {name} among the inputs")]
    NotFound { kind: &'static str, name: String },
    /// There is no such object in the cluster.
    #[error("the cluster has no {kind} {name}")]
    NotInCluster { kind: &'static str, name: String },
    /// The cluster did not do what was asked for.
    #[error("the cluster cannot be worked with")]
    Cluster(#[source] ClusterError),
    /// Nothing waits for an approval by that name.
    #[error("nothing about {wanted} waits for an approval; what waits: {others}")]
    NothingHeld {
        /// What was to be approved.
        wanted: String,
        others: String,
    },
    /// The name is not `namespace/name`.
    #[error("{0:?} is not namespace/name")]
    Name(String),
    /// A packet cannot be judged.
    #[error("what becomes of the packet cannot be said")]
    Packet(#[source] PacketError),
    /// The agent of this node gives no answer.
    #[error("the agent of this node gives no answer")]
    Agent(#[source] ControlError),
    /// The pod has no node.
    #[error("pod {pod} is bound to no node yet, or has finished: it sends no packet")]
    NotBound { pod: String },
    /// What is published cannot be read, and a packet is judged by nothing else.
    #[error(
        "packets are judged by what is published, and NodeIntent {name} cannot be read here; --manifests judges them by files \
         instead"
    )]
    Published {
        /// The name of the NodeIntent.
        name: String,
        #[source]
        source: Box<ClusterError>,
    },
    /// A node is no gateway of an exit.
    #[error("node {node} is no gateway of exit {exit}; its gateways: {gateways}")]
    NoGateway {
        node: String,
        exit: String,
        gateways: String,
    },
    /// A step of an uninstallation took too long.
    #[error(
        "after {timeout:#} this was not done: {act}; it still waits for: {left}. Everything up to here stays as it is; the same \
         command goes on from here"
    )]
    NotRemoved {
        act: &'static str,
        timeout: SignedDuration,
        left: String,
    },
    /// A policy or a label came back while Postern was taken away.
    #[error(
        "nothing more is removed, because something selects pods again: {policies}. Find who makes it, such as a tool that applies \
         what is in a repository, then run the same command"
    )]
    PolicyIsBack { policies: String },
    /// A node is guarded where it should be released by now.
    #[error(
        "nothing more is removed, because nodes are guarded: {nodes}. Something has sealed them again, such as an operator that \
         was started anew; find it, then run the same command"
    )]
    StillGuarded { nodes: String },
    /// Approvals cannot be written.
    #[error("the approvals cannot be written as YAML")]
    Approvals(#[source] serde_saphyr::SerializeError),
}

impl From<ClusterError> for VerbError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

impl From<PacketError> for VerbError {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}

impl From<FilesError> for VerbError {
    fn from(error: FilesError) -> Self {
        Self::Files(error)
    }
}

impl From<KeyFileError> for VerbError {
    fn from(error: KeyFileError) -> Self {
        Self::Keys(error)
    }
}

impl From<OutputError> for VerbError {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}
