//! Builds from Go modules: one part for each folder of the cache.

use std::path::{Path, PathBuf};

/// A build with a folder of its own in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The upstream programs, as one file with a link per name.
    Upstream,
    Front,
    Helm,
    Kubelet,
    Dns,
}

impl Part {
    /// The folder of the Go module, in this crate.
    pub(super) fn module(self) -> PathBuf {
        match self {
            Self::Upstream | Self::Front | Self::Kubelet => go_module(),
            Self::Helm => Path::new(env!("CARGO_MANIFEST_DIR")).join("helm"),
            Self::Dns => Path::new(env!("CARGO_MANIFEST_DIR")).join("coredns"),
        }
    }

    /// The program's name in the part's folder.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Upstream => "controlplane",
            Self::Front => "front",
            Self::Helm => "helm",
            Self::Kubelet => "kubelet",
            Self::Dns => "coredns",
        }
    }

    /// The Go package that is built.
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::Upstream | Self::Dns => ".",
            Self::Front => "./cmd/front",
            Self::Kubelet => "./cmd/kubelet",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
        }
    }

    /// The progress line during the build.
    pub(super) const fn stage(self) -> &'static str {
        match self {
            Self::Upstream => {
                "building Kubernetes and etcd from Go modules (once; some 10 minutes on two cores)"
            }
            Self::Front => "building the proxy before the API server",
            Self::Helm => "building Helm from its Go module (once; some 5 minutes on two cores)",
            Self::Kubelet => {
                "building the kubelet from its Go module (once; some 4 minutes on two cores)"
            }
            Self::Dns => "building CoreDNS from its Go module (once; some 4 minutes on two cores)",
        }
    }
}

/// The Go module of the control plane, beside this crate's sources.
fn go_module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("controlplane")
}
