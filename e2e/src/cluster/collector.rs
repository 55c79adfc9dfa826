//! The collector of the operators' traces: a program of the lab, in the namespace of the control plane.

use std::ffi::OsString;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::lab::LabError;
use crate::lab::{Binaries, COLLECTOR, Collector, Lab, wait_until};

/// Where it listens, on the loopback of the control plane's namespace: OTLP's own port.
const ADDRESS: &str = "127.0.0.1:4317";

/// How long it may take to listen.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// The environment variable with the address to which a program sends its traces, as OpenTelemetry names it.
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

impl Lab {
    /// Starts the collector and waits until it listens, in a lab that was made with one.
    pub(super) fn start_collector(&self, collector: Collector) -> Result<(), LabError> {
        if collector == Collector::Absent {
            return Ok(());
        }
        let command: [OsString; 5] = [
            Binaries::locate()?.path(COLLECTOR).into(),
            "--listen".into(),
            ADDRESS.into(),
            "--out".into(),
            self.spans_file().into(),
        ];
        let namespace = self.namespace("cp");
        self.start(COLLECTOR, &namespace, command.into())?;
        wait_until(READY_DEADLINE, "the collector's start", || {
            namespace.run(|| Ok(TcpStream::connect(ADDRESS).ok().map(drop)))
        })
    }

    /// Every span that the collector has got, in the order of their coming; none without a collector.
    #[must_use]
    pub fn spans(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.spans_file()).unwrap_or_default();
        text.lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn spans_file(&self) -> PathBuf {
        self.plane_dir().join("spans.jsonl")
    }
}

/// What stands before the command of a program that makes traces: only a lab with a collector says where to send them,
/// whatever the environment of the lab itself says.
pub(super) fn traced(collector: Collector) -> Vec<OsString> {
    match collector {
        Collector::There => vec!["env".into(), format!("{VARIABLE}=http://{ADDRESS}").into()],
        Collector::Absent => vec!["env".into(), "-u".into(), VARIABLE.into()],
    }
}
