//! What most cases need around them: an exit, a policy for crawlers, and the wait until it is in force.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use crate::lab::LabError;
use crate::lab::{Exec, Lab, PodOptions};
use crate::proof::harness::{Sender, WAIT_DEADLINE, wait_until};

/// An exit of the gateways with this label value; `further` are lines of its gateway, such as `egressIPs: [A, B]`.
#[must_use]
pub fn exit(name: &str, label: &str, further: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1\nkind: ExitNode\nmetadata: {{name: {name}}}\nspec:\n  gateway:\n    \
         nodeSelector: {{matchLabels: {{postern.dev/exit: {label}}}}}\n    {further}\n---\n"
    )
}

/// The policy `crawlers/crawler` for pods with `app: crawler`; `further` is YAML of its spec, such as `rules: [...]`.
#[must_use]
pub fn policy(exit: &str, further: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{namespace: crawlers, name: crawler}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: crawler}}}}\n  route: {{type: Exit, exitNodes: [{{name: {exit}}}]}}\n  \
         defaultAction: Allow\n  {further}\n---\n"
    )
}

impl Lab {
    /// A sender that `policy` selects, already leaving by the exit `eu` of the gateway `gw-1`.
    ///
    /// # Errors
    /// When it does not come so far.
    pub fn selected_sender(&self, node: &str) -> Result<Sender, LabError> {
        self.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))?;
        let pod = PodOptions::on(node).label("app", "crawler");
        let sender = self.sender("crawlers/crawler", pod)?;
        self.await_state(node, "eu", "Enforcing", Timestamp::MIN)?;
        wait_until(WAIT_DEADLINE, "packets by the exit", || {
            Ok((self.pod_since(&sender, Timestamp::MIN)?.exited > 0).then_some(()))
        })?;
        Ok(sender)
    }

    /// Waits until a node's report of after a time names a scope of this exit in this state.
    ///
    /// # Errors
    /// `Timeout`.
    pub fn await_state(
        &self,
        node: &str,
        exit: &str,
        state: &str,
        after: Timestamp,
    ) -> Result<Value, LabError> {
        let what = format!("a scope of {exit} at {node} in the state {state}");
        self.await_report(node, &what, |report| {
            let verified = report["verifiedAt"].as_str().and_then(|at| at.parse().ok());
            let scopes = report["scopes"].as_array().into_iter().flatten();
            let is = |scope: &Value| scope["exit"] == exit && scope["state"] == state;
            verified.is_some_and(|at: Timestamp| at >= after) && scopes.into_iter().any(is)
        })
    }

    /// Waits until the loop of a node's agent is over with its start and with what that left to do: a probe's answer is
    /// read by the loop alone, and so only then.
    ///
    /// # Errors
    /// `Timeout`.
    pub fn await_probed(&self, node: &str) -> Result<(), LabError> {
        self.await_report(node, "an answer of the gateway", |report| {
            report["exits"][0]["paths"][0]["state"] == "Works"
        })
        .map(drop)
    }

    /// How many differences a node's agent has repaired since it started.
    #[must_use]
    pub fn repairs(&self, node: &str) -> u64 {
        let report = self.report_status(node).unwrap_or_default();
        report["counters"]["repairs"].as_u64().unwrap_or_default()
    }

    /// Runs a line of shell in a node's namespaces and answers what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn shell(&self, node: &str, line: &str) -> Result<String, LabError> {
        self.exec_ok(Exec::Node(node), &["sh", "-c", line])
    }

    /// The socket by which the tunnel process of a node is configured.
    #[must_use]
    pub fn tunnel_socket(&self, node: &str, device: &str) -> PathBuf {
        let name = format!("wireguard/{device}.sock");
        self.run_dir(node).join(name)
    }

    /// One request to the tunnel process of a node, and its answer (the cross-platform userspace protocol of WireGuard).
    ///
    /// # Errors
    /// When no process serves the device, or the answer breaks off. What the process refuses is in the answer (`errno`).
    pub fn ask_tunnel(&self, node: &str, device: &str, request: &str) -> Result<String, LabError> {
        let path = self.tunnel_socket(node, device);
        let mut stream = UnixStream::connect(&path).map_err(LabError::file("connect to", &path))?;
        stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.shutdown(Shutdown::Write))
            .map_err(LabError::file("write", &path))?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .map_err(LabError::file("read", &path))?;
        Ok(answer)
    }
}
