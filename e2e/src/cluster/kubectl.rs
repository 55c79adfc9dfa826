//! What users would type.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::{Tools, cached_helm, kubeconfigs};
use crate::lab::LabError;
use crate::lab::sandbox::command;
use crate::lab::{Applied, Binaries, Lab};

/// How long `kubectl delete` waits for finalizers.
const DELETE_TIMEOUT: &str = "--timeout=60s";

impl Lab {
    /// A kubectl with the administrator's kubeconfig, in the namespace of the control plane. Its current context leads
    /// to the API server directly; `--context front` leads through the proxy, as operators and agents connect.
    ///
    /// # Errors
    /// `NeedsApiServer`, or when there is no kubectl.
    pub fn kubectl(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Command, LabError> {
        self.needs_api_server("kubectl")?;
        let program = Tools::of(self)?.program("kubectl")?;
        let mut command = self.namespace("cp").command(program);
        command.args(arguments);
        command.env("KUBECONFIG", kubeconfigs(self).inside);
        // Every lab's API server has the same address: what one of them serves must not be taken for another's.
        command.env("KUBECACHEDIR", self.plane_dir().join("cache"));
        Ok(command)
    }

    /// Runs kubectl to its end and answers what it printed.
    ///
    /// # Errors
    /// As [`Lab::kubectl`], and `Command` with its error output when it fails.
    pub fn kubectl_ok(&self, arguments: &[&str]) -> Result<String, LabError> {
        command::run(&mut self.kubectl(arguments)?)
    }

    /// A Helm with the administrator's kubeconfig, in the namespace of the control plane.
    ///
    /// # Errors
    /// `NeedsApiServer`, or `NotBuilt`.
    pub fn helm(&self, arguments: &[&str]) -> Result<Command, LabError> {
        self.needs_api_server("helm")?;
        let program = cached_helm()?.ok_or(LabError::NotBuilt {
            program: "Helm",
            target: "make chart",
        })?;
        let mut command = self.namespace("cp").command(program);
        command.args(arguments);
        command.env("KUBECONFIG", kubeconfigs(self).inside);
        Ok(command)
    }

    /// A `posternctl` in the namespace of the control plane, with the administrator's kubeconfig in its environment.
    ///
    /// # Errors
    /// `NeedsApiServer`, or when this program cannot be found.
    pub fn posternctl(&self, arguments: &[&str]) -> Result<Command, LabError> {
        self.needs_api_server("posternctl")?;
        let program = Binaries::locate()?.path("posternctl");
        let mut command = self.namespace("cp").command(program);
        command.args(arguments);
        command.env("KUBECONFIG", kubeconfigs(self).inside);
        Ok(command)
    }

    /// Applies objects as a user does, by server-side apply.
    pub(crate) fn kubectl_apply(&self, objects: &[Value]) -> Result<Vec<Applied>, LabError> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = self.kubectl(["apply", "--server-side", "-o", "name", "-f", "-"])?;
        command::run_with_input(&mut command, &list(objects))?;
        Ok(outcomes(objects, |_| "applied"))
    }

    /// Deletes objects as a user does, and waits until they are gone.
    pub(crate) fn kubectl_delete(&self, objects: &[Value]) -> Result<Vec<Applied>, LabError> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [
            "delete",
            "--ignore-not-found",
            DELETE_TIMEOUT,
            "-o",
            "name",
            "-f",
            "-",
        ];
        let mut command = self.kubectl(arguments)?;
        let said = command::run_with_input(&mut command, &list(objects))?;
        Ok(outcomes(objects, |object| {
            let gone = said.lines().any(|line| names(line, object));
            if gone { "deleted" } else { "absent" }
        }))
    }

    /// One object as kubectl finds it, or nothing.
    pub(crate) fn kubectl_get(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, LabError> {
        let mut arguments = vec!["get", kind, name, "--ignore-not-found", "-o", "json"];
        if !namespace.is_empty() {
            arguments.extend(["--namespace", namespace]);
        }
        let said = self.kubectl_ok(&arguments)?;
        if said.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&said)
            .map(Some)
            .map_err(LabError::json("kubectl's answer"))
    }

    /// Applies the files of a folder.
    pub(super) fn kubectl_apply_folder(&self, folder: &Path) -> Result<(), LabError> {
        let arguments: [OsString; 4] = [
            "apply".into(),
            "--server-side".into(),
            "-f".into(),
            folder.into(),
        ];
        command::run(&mut self.kubectl(arguments)?).map(drop)
    }
}

fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// Whether `egresspolicy.postern.dev/crawlers` is this object, of whatever namespace.
fn names(line: &str, object: &Value) -> bool {
    let Some((kind, name)) = line.trim().split_once('/') else {
        return false;
    };
    let kind = kind.split('.').next().unwrap_or_default();
    kind == text(object, "/kind").to_lowercase() && name == text(object, "/metadata/name")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn outcomes(objects: &[Value], outcome: impl Fn(&Value) -> &'static str) -> Vec<Applied> {
    let one = |object: &Value| {
        let (namespace, name) = (
            text(object, "/metadata/namespace"),
            text(object, "/metadata/name"),
        );
        Applied {
            kind: text(object, "/kind").to_owned(),
            name: if namespace.is_empty() {
                name.to_owned()
            } else {
                format!("{namespace}/{name}")
            },
            outcome: outcome(object),
        }
    };
    objects.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::names;

    #[test]
    fn a_line_of_kubectl_names_an_object_by_kind_and_name() {
        let object = json!({"kind": "EgressPolicy", "metadata": {"name": "crawlers"}});
        assert!(names("egresspolicy.postern.dev/crawlers", &object));
        assert!(!names("egresspolicy.postern.dev/others", &object));
        assert!(!names("exitnode.postern.dev/crawlers", &object));
        assert!(!names("", &object));
    }
}
