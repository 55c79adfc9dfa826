//! Calling CNI plugins the way a container runtime does (CNI specification 1.0, "Plugin execution").

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::lab::LabError;
use crate::lab::sandbox::command;
use crate::lab::sandbox::netns::Namespace;

/// Where Debian's `containernetworking-plugins` puts them.
pub const PLUGIN_FOLDER: &str = "/usr/lib/cni";

/// "Try again later" of the CNI specification: the one code after which a kubelet's next attempt may succeed.
pub const TRY_AGAIN: u64 = 11;

/// A chain of plugins for one pod.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    /// The node's namespaces, in which plugins run.
    pub node: &'a Namespace,
    /// A folder that stands before `PATH`: programs that this runtime has of its own.
    pub programs: PathBuf,
    /// The pod's network namespace.
    pub sandbox: PathBuf,
    /// Container id.
    pub container: String,
    /// `CNI_ARGS`: namespace, name and UID of the pod.
    pub args: String,
    /// Each plugin's program and its part of the network configuration, in order.
    pub plugins: Vec<(PathBuf, Value)>,
}

/// The bridge network of one node, with addresses of both families by host-local.
///
/// `wanted` asks for particular addresses, as a runtime does that restores a pod.
#[must_use]
pub fn bridge_network(ranges: &[String; 2], data: &Path, wanted: &[IpAddr]) -> Value {
    let mut network = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "dataDir": data,
            "ranges": [[{"subnet": ranges[0]}], [{"subnet": ranges[1]}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    });
    if !wanted.is_empty() {
        network["args"] = json!({"cni": {"ips": wanted}});
    }
    network
}

impl Chain<'_> {
    /// ADD of every plugin in order; answers the pod's addresses.
    ///
    /// # Errors
    /// `Cni` of the first plugin that refuses; earlier ones are not undone (a runtime calls DEL then).
    pub fn add(&self) -> Result<Vec<IpAddr>, LabError> {
        let mut result = Value::Null;
        for (program, config) in &self.plugins {
            result = self.call("ADD", program, config, &result)?;
        }
        let addresses = result
            .get("ips")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let addresses =
            addresses.filter_map(|ip| ip.get("address")?.as_str()?.split('/').next()?.parse().ok());
        let mut addresses: Vec<IpAddr> = addresses.collect();
        addresses.sort();
        Ok(addresses)
    }

    /// DEL of every plugin in reverse order.
    ///
    /// # Errors
    /// `Cni` of the first plugin that refuses.
    pub fn del(&self) -> Result<(), LabError> {
        for (program, config) in self.plugins.iter().rev() {
            self.call("DEL", program, config, &Value::Null)?;
        }
        Ok(())
    }

    fn path(&self) -> OsString {
        let mut path = self.programs.clone().into_os_string();
        if let Some(others) = std::env::var_os("PATH") {
            path.push(":");
            path.push(others);
        }
        path
    }

    fn call(
        &self,
        verb: &'static str,
        program: &Path,
        config: &Value,
        before: &Value,
    ) -> Result<Value, LabError> {
        let mut input = config.clone();
        input["cniVersion"] = json!("1.0.0");
        input["name"] = json!("lab");
        if !before.is_null() {
            input["prevResult"] = before.clone();
        }
        let mut command: Command = self.node.command(program);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_NETNS", &self.sandbox);
        command
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", PLUGIN_FOLDER)
            .env("PATH", self.path())
            .env("CNI_ARGS", &self.args);
        let output = command::output(&mut command, Some(&input.to_string()))?;
        let plugin = program.file_name().unwrap_or_default().to_string_lossy();
        if !output.status.success() {
            return Err(refusal(&plugin, verb, &output));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        if said.trim().is_empty() {
            return Ok(Value::Null);
        }
        let what = format!("the answer of CNI plugin {plugin}");
        serde_json::from_str(&said).map_err(LabError::json(what))
    }
}

/// The error that a plugin prints: an object with code, msg and details.
fn refusal(plugin: &str, verb: &'static str, output: &Output) -> LabError {
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let text = |name: &str| {
        answer
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let parts = [text("msg"), text("details"), errors];
    let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    LabError::Cni {
        plugin: plugin.to_owned(),
        verb,
        code: answer
            .get("code")
            .and_then(Value::as_u64)
            .unwrap_or_default(),
        message: said.join(": "),
    }
}
