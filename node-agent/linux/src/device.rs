//! Per-device switches. `/proc/sys/net` shows the namespace of the thread that reads it, and the blocking threads of a
//! runtime inherit the namespace of the thread that started them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use postern_host::error::{HostCause, HostError};
use postern_host::ports::{Devices, HostResult};
use postern_plan::host::DeviceSetting;

use crate::host::LinuxHost;

impl Devices for LinuxHost {
    async fn get_device(&self, setting: &DeviceSetting) -> HostResult<DeviceSetting> {
        let path = setting.key.path(&setting.device);
        let value = read(&path)
            .await
            .map_err(|source| HostError::GetDevice { path, source })?;
        Ok(DeviceSetting {
            value,
            ..setting.clone()
        })
    }

    async fn set_device(&self, setting: &DeviceSetting) -> HostResult<()> {
        let path = setting.key.path(&setting.device);
        tokio::fs::write(below(&path), setting.value.to_string())
            .await
            .map_err(|error| HostError::SetDevice {
                path,
                value: setting.value,
                source: error.into(),
            })
    }
}

async fn read(path: &str) -> Result<u8, HostCause> {
    let text = tokio::fs::read_to_string(below(path)).await?;
    text.trim().parse().map_err(|_| HostCause::Answer {
        what: "the switch is no small number",
    })
}

/// Names another place where the same tree is mounted. A container that is not privileged sees its own `/proc/sys`
/// read-only (OCI runtime specification, `linux.readonlyPaths`), and no runtime mounts anything inside `/proc`.
const ELSEWHERE: &str = "POSTERN_DEVICE_SWITCHES";

static TREE: LazyLock<PathBuf> = LazyLock::new(|| tree(std::env::var_os(ELSEWHERE)));

fn tree(elsewhere: Option<OsString>) -> PathBuf {
    let named = elsewhere.filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from("/proc/sys/net"), PathBuf::from)
}

fn below(path: &str) -> PathBuf {
    TREE.join(path)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_switches_are_where_the_environment_says_and_else_where_the_kernel_shows_them() {
        assert_eq!(tree(None), Path::new("/proc/sys/net"));
        assert_eq!(tree(Some(OsString::new())), Path::new("/proc/sys/net"));
        let elsewhere = OsString::from("/host/proc/sys/net");
        assert_eq!(tree(Some(elsewhere)), Path::new("/host/proc/sys/net"));
    }
}
