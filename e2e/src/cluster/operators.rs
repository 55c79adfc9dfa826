//! The operators of a lab with an API server: two programs with one Lease, on the machine of the control plane.

use std::ffi::OsString;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde_json::json;

use crate::cluster::collector::traced;
use crate::cluster::programs::NAMESPACE;
use crate::cluster::token;
use crate::lab::LabError;
use crate::lab::topology;
use crate::lab::{Binaries, Lab, LabState};

/// How many operators a lab has, as the Deployment has replicas.
pub const OPERATORS: u8 = 2;

/// Where the first operator serves health and metrics, on the loopback of its namespace; the next one a port higher.
const FIRST_PORT: u16 = 9851;

/// Starts the program again when it ends by itself, as a kubelet does: an operator that loses its Lease ends. A kill
/// takes the whole control group, and a request to end is passed on.
pub(super) const AGAIN: &str = "trap 'kill -TERM $child; wait $child; exit 0' TERM; \
                     while :; do \"$@\" & child=$!; wait $child; sleep 1; done";

impl Lab {
    /// Writes the configuration of the operators, and starts both.
    pub(super) fn start_operators(&self, state: &LabState) -> Result<(), LabError> {
        let settings = settings(state).to_string();
        self.write_atomically(&self.operator_settings(), settings.as_bytes())?;
        for number in 1..=OPERATORS {
            let token = token(self, NAMESPACE, "postern-operator", None)?;
            let path = self.operator_kubeconfig(number);
            self.give_account(&path, "postern-operator", &token)?;
            self.start_operator(number)?;
        }
        Ok(())
    }

    /// Starts an operator, counted from 1, unless it runs.
    ///
    /// # Errors
    /// `NeedsApiServer`, `Invalid` for a number that no operator has, or when it does not start.
    pub fn start_operator(&self, number: u8) -> Result<(), LabError> {
        self.needs_api_server("operator")?;
        let name = operator_name(number)?;
        let listen = format!("127.0.0.1:{}", FIRST_PORT + u16::from(number) - 1);
        let mut command = traced(self.state()?.options.collector);
        command.extend(["sh", "-c", AGAIN, "operator"].map(OsString::from));
        command.push(Binaries::locate()?.path("postern-operator").into());
        command.push("run".into());
        let arguments: [(&str, OsString); 6] = [
            ("--kubeconfig", self.operator_kubeconfig(number).into()),
            ("--namespace", NAMESPACE.into()),
            ("--settings", self.operator_settings().into()),
            ("--identity", name.clone().into()),
            ("--listen", listen.into()),
            ("--listen-file", self.listen_file(&name).into()),
        ];
        for (flag, value) in arguments {
            command.extend([flag.into(), value]);
        }
        self.start(&name, &self.namespace("cp"), command)
    }

    /// Lets an operator hang, with its memory and its connections, until [`Lab::resume_operator`].
    ///
    /// # Errors
    /// `Invalid` for a number that no operator has, or when it does not run.
    pub fn pause_operator(&self, number: u8) -> Result<(), LabError> {
        self.cgroup(&operator_name(number)?)?.freeze()
    }

    /// Lets an operator that hangs go on.
    ///
    /// # Errors
    /// `Invalid` for a number that no operator has, or when it does not run.
    pub fn resume_operator(&self, number: u8) -> Result<(), LabError> {
        self.cgroup(&operator_name(number)?)?.thaw()
    }

    /// The file of the operators' settings, as the ConfigMap's mount in their pods.
    #[must_use]
    pub fn operator_settings(&self) -> PathBuf {
        self.plane_dir().join("settings.yaml")
    }

    /// Where an operator writes the address that it listens on.
    fn listen_file(&self, name: &str) -> PathBuf {
        self.plane_dir().join(format!("{name}.listen"))
    }

    fn operator_kubeconfig(&self, number: u8) -> PathBuf {
        self.plane_dir()
            .join(format!("operator-{number}.kubeconfig"))
    }
}

/// The name of an operator's process, counted from 1.
///
/// # Errors
/// `Invalid` for a number that no operator has.
pub fn operator_name(number: u8) -> Result<String, LabError> {
    if (1..=OPERATORS).contains(&number) {
        return Ok(format!("operator-{number}"));
    }
    Err(LabError::Invalid {
        what: "operator",
        value: number.to_string(),
        why: format!("a lab has the operators 1 to {OPERATORS}"),
    })
}

/// What an administrator of this cluster would write: what the operator cannot find out by itself.
fn settings(state: &LabState) -> serde_json::Value {
    let positive = |time: SignedDuration| time.max(SignedDuration::from_millis(1));
    json!({
        "podRanges": topology::pair(topology::PODS4, topology::PODS6),
        "dns": {"domain": "cluster.local", "addresses": [topology::DNS4.to_string(), topology::DNS6.to_string()]},
        "validity": positive(state.options.validity),
        "refresh": positive(state.options.refresh),
    })
}
