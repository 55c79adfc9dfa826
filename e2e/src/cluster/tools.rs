//! Where the programs of the control plane are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lab::LabError;
use crate::lab::{Lab, read_json};

/// The Kubernetes release that the Go module pins.
pub const KUBERNETES_VERSION: &str = "1.37.2";
/// The etcd release that the Go module pins.
pub(super) const ETCD_VERSION: &str = "3.7.0";

/// The environment variable with the folder of built programs, which envtest reads too.
pub(super) const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// Programs without which there is no control plane.
const REQUIRED: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// Where the programs of the control plane are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// The folder of the upstream programs.
    pub folder: PathBuf,
    /// Our proxy before the API server.
    pub front: PathBuf,
}

impl Tools {
    /// The programs of a lab that is up.
    ///
    /// # Errors
    /// When the lab has no control plane.
    pub fn of(lab: &Lab) -> Result<Self, LabError> {
        read_json(&lab.plane_dir().join("tools.json"))
    }

    /// A program that must be there.
    ///
    /// # Errors
    /// `NoControlProgram` when the folder has none of that name.
    pub fn program(&self, name: &str) -> Result<PathBuf, LabError> {
        let path = self.folder.join(name);
        if path.exists() {
            return Ok(path);
        }
        Err(LabError::NoControlProgram {
            name: name.to_owned(),
            folder: self.folder.clone(),
        })
    }

    /// Whether the folder has a program.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }
}

/// The folder of ready programs that the environment names, if it names one.
pub(super) fn ready_folder() -> Result<Option<PathBuf>, LabError> {
    let Some(folder) = std::env::var_os(ASSETS).filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    let folder = PathBuf::from(folder);
    for name in REQUIRED {
        if !folder.join(name).exists() {
            return Err(LabError::NoControlProgram {
                name: name.to_owned(),
                folder,
            });
        }
    }
    Ok(Some(folder))
}

/// The folder that built programs are kept in: `$XDG_CACHE_HOME`, or `.cache` of the home folder.
pub(super) fn cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
    let cache = named.map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        Path::new(&home).join(".cache")
    });
    cache.join("postern/controlplane")
}
