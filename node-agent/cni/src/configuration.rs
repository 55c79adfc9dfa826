//! The network configuration on stdin.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{CniError, SpecVersion};

const DEFAULT_SOCKET: &str = "/run/postern/agent.sock";

/// The plugin's part of a network configuration, with what the runtime adds to it.
#[derive(Debug)]
pub struct Configuration {
    version: SpecVersion,
    socket: PathBuf,
    previous: Option<Box<RawValue>>,
    valid: Option<Vec<ValidAttachment>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkConfiguration {
    #[serde(default)]
    cni_version: Option<String>,
    #[serde(default)]
    socket: Option<PathBuf>,
    #[serde(default)]
    prev_result: Option<Box<RawValue>>,
    #[serde(default, rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<ValidAttachment>>,
}

/// One entry of `cni.dev/valid-attachments` (CNI 1.1.0, "GC").
#[derive(Debug, Deserialize)]
struct ValidAttachment {
    #[serde(rename = "containerID")]
    container_id: String,
}

impl Configuration {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`CniError::Decode`], [`CniError::Version`] or [`CniError::RelativeSocket`].
    pub fn parse(input: &[u8]) -> Result<Self, CniError> {
        let document: NetworkConfiguration =
            serde_json::from_slice(input).map_err(|source| CniError::Decode { source })?;
        // A configuration without a version is one of 0.1.0 or 0.2.0, whose results have another
        // shape.
        let version = document.cni_version.as_deref().unwrap_or("0.1.0");
        let version = version
            .parse()
            .map_err(|source| CniError::Version { source })?;
        let socket = document
            .socket
            .unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
        if !socket.is_absolute() {
            return Err(CniError::RelativeSocket { path: socket });
        }
        Ok(Self {
            version,
            socket,
            previous: document.prev_result,
            valid: document.valid_attachments,
        })
    }

    /// The version of the specification that answers have to follow.
    #[must_use]
    pub const fn version(&self) -> SpecVersion {
        self.version
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The result of the plugin before this one, byte for byte.
    ///
    /// # Errors
    /// [`CniError::NoPreviousResult`]: this plugin makes no interface and cannot come first.
    pub fn previous(&self) -> Result<&RawValue, CniError> {
        self.previous.as_deref().ok_or(CniError::NoPreviousResult)
    }

    /// The containers that still exist, for GC.
    ///
    /// # Errors
    /// [`CniError::NoValidAttachments`]: an absent list is not an empty one.
    pub fn valid_container_ids(&self) -> Result<Vec<String>, CniError> {
        let valid = self.valid.as_ref().ok_or(CniError::NoValidAttachments)?;
        Ok(valid.iter().map(|one| one.container_id.clone()).collect())
    }
}
