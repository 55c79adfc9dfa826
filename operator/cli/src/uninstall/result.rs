//! What an uninstallation did, or would do, and what it leaves to a person.

use k8s_openapi::api::apps::v1::Deployment;
use serde::Serialize;

use super::step::UninstallStep;
use crate::output::{TableOutput, json_name};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepResult {
    pub step: UninstallStep,
    /// What was done, or would be.
    pub acts: Vec<String>,
    /// What it would wait for; empty where it is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UninstallResult {
    pub dry_run: bool,
    pub steps: Vec<StepResult>,
    /// What only a person can do, in its order.
    pub by_hand: Vec<String>,
}

/// Objects that remain when every step is done.
#[must_use]
pub fn by_hand(operator: Option<&Deployment>, namespace: &str) -> Vec<String> {
    let annotations = operator.and_then(|operator| operator.metadata.annotations.as_ref());
    let release = annotations.and_then(|all| all.get("meta.helm.sh/release-name"));
    let workloads = match release {
        Some(release) => format!("helm uninstall {release} --namespace {namespace}"),
        None => "kubectl delete -k deploy/base, or the overlay that was applied".to_owned(),
    };
    vec![
        workloads,
        format!("kubectl delete namespace {namespace}: the signing key goes with it, and nobody can make it again"),
        "on each node, as root: rm -r /var/lib/postern /run/postern /opt/cni/bin/postern-cni".to_owned(),
        "take the taint postern.dev/not-sealed out of the kubelets' configuration, where it was put in".to_owned(),
    ]
}

impl TableOutput for UninstallResult {
    fn table(&self) -> String {
        let mut lines = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let name = json_name(step.step);
            lines.push(format!("{}. {name}: {}", number + 1, step.step.sentence()));
            if self.dry_run {
                lines.extend(step.acts.iter().map(|act| format!("   would {act}")));
                let waits = step.left.iter().map(|left| format!("   now: {left}"));
                lines.extend(waits);
            }
            if step.acts.is_empty() && step.left.is_empty() {
                lines.push("   nothing to do".to_owned());
            }
        }
        let title = match self.dry_run {
            true => "nothing was changed; after these steps a person has to:",
            false => "done; what is left for a person:",
        };
        lines.push(String::new());
        lines.push(title.to_owned());
        lines.extend(self.by_hand.iter().map(|act| format!("   {act}")));
        lines.join("\n")
    }
}
