//! The collector of the operators' traces and of the decisions that agents record: a program of the lab, in the namespace of the
//! control plane.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::lab::LabError;
use crate::lab::topology::CONTROL4;
use crate::lab::{Binaries, COLLECTOR, Collector, Lab, wait_until};

/// Where it listens in the control plane's namespace: OTLP's own port.
const PORT: u16 = 4317;

/// How long it may take to listen.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// The environment variable with the address to which a program sends its traces, as OpenTelemetry names it.
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

impl Lab {
    /// Starts the collector, unless it runs, and waits until it listens; in a lab that was made without one it does nothing.
    ///
    /// # Errors
    /// `Timeout`, or when it does not start.
    pub fn start_collector(&self) -> Result<(), LabError> {
        if self.state()?.options.collector == Collector::Absent {
            return Ok(());
        }
        let listen = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT);
        let command: [OsString; 7] = [
            Binaries::locate()?.path(COLLECTOR).into(),
            "--listen".into(),
            listen.to_string().into(),
            "--out".into(),
            self.spans_file().into(),
            "--records".into(),
            self.records_file().into(),
        ];
        let namespace = self.namespace("cp");
        self.start(COLLECTOR, &namespace, command.into())?;
        wait_until(READY_DEADLINE, "the collector's start", || {
            namespace.run(|| {
                Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))
                    .ok()
                    .map(drop))
            })
        })
    }

    /// Every span that the collector has got, in the order of their coming; none without a collector.
    #[must_use]
    pub fn spans(&self) -> Vec<Value> {
        written(&self.spans_file())
    }

    /// Every log record that the collector has got, in the order of their coming; none without a collector.
    #[must_use]
    pub fn collected_records(&self) -> Vec<Value> {
        written(&self.records_file())
    }

    /// The `env` in front of the command of an agent.
    pub(crate) fn agent_environment(&self) -> Result<Vec<OsString>, LabError> {
        Ok(exporting(self.state()?.options.collector, CONTROL4))
    }

    fn spans_file(&self) -> PathBuf {
        self.plane_dir().join("spans.jsonl")
    }

    fn records_file(&self) -> PathBuf {
        self.plane_dir().join("records.jsonl")
    }
}

fn written(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map_while(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The `env` in front of the command of an operator.
pub(super) fn traced(collector: Collector) -> Vec<OsString> {
    exporting(collector, Ipv4Addr::LOCALHOST)
}

/// It sets the address of the collector, or removes a variable that the lab itself was started with.
fn exporting(collector: Collector, host: Ipv4Addr) -> Vec<OsString> {
    match collector {
        Collector::There => vec![
            "env".into(),
            format!("{VARIABLE}=http://{host}:{PORT}").into(),
        ],
        Collector::Absent => vec!["env".into(), "-u".into(), VARIABLE.into()],
    }
}
