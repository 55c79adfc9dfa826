//! Per-device switches. `/proc/sys/net` shows the namespace of the thread that reads it, and the blocking threads of a
//! runtime inherit the namespace of the thread that started them.

use std::path::PathBuf;

use postern_host::error::{Cause, HostError};
use postern_host::ports::{Act, Devices};
use postern_plan::host::DeviceSetting;

use crate::host::LinuxHost;

impl Devices for LinuxHost {
    async fn get_device(&self, setting: &DeviceSetting) -> Act<DeviceSetting> {
        let path = setting.key.path(&setting.device);
        let value = read(&path)
            .await
            .map_err(|source| HostError::GetDevice { path, source })?;
        Ok(DeviceSetting {
            value,
            ..setting.clone()
        })
    }

    async fn set_device(&self, setting: &DeviceSetting) -> Act<()> {
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

async fn read(path: &str) -> Result<u8, Cause> {
    let text = tokio::fs::read_to_string(below(path)).await?;
    text.trim().parse().map_err(|_| Cause::Answer {
        what: "the switch is no small number",
    })
}

fn below(path: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(path)
}
