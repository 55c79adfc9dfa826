//! What the pods of an uninstallation are made of: the agents' own pods, so that images, folders and rights are the same.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

/// The label that names the component of a pod.
pub(super) const COMPONENT: &str = "app.kubernetes.io/component";

/// The component of pods that release and clean up a node.
pub(super) const CLEANER: &str = "uninstall";

/// The container that keeps the plugin installed, and the one that takes it out.
const PLUGIN: &str = "plugin";
const UNPLUG: &str = "plugin-removal";

const AGENT: &str = "agent";
const FOLDER: &str = "--configuration-folder=";

/// Volumes that only an agent that runs needs.
const CREDENTIALS: [&str; 2] = ["trust", "token"];

/// The change of the agents' DaemonSet after which each pod takes the plugin out of its node's lists before its agent starts;
/// none: it does so already, or has no such container.
#[must_use]
pub fn plugin_patch(agents: &DaemonSet) -> Option<Value> {
    let spec = agents.spec.template.spec.as_ref()?;
    let plugin = spec.containers.iter().find(|one| one.name == PLUGIN)?;
    let arguments = plugin.args.iter().flatten();
    let folder = arguments.filter(|argument| argument.starts_with(FOLDER));
    let arguments: Vec<String> = ["remove".to_owned()]
        .into_iter()
        .chain(folder.cloned())
        .collect();
    let removal = Container {
        name: UNPLUG.to_owned(),
        args: Some(arguments),
        ..plugin.clone()
    };
    Some(json!({"spec": {"template": {"spec": {
        "initContainers": [removal],
        "containers": [{"name": PLUGIN, "$patch": "delete"}],
    }}}}))
}

/// A pod that asks the node's agent for its release and, when the agent is gone, takes away what it left. The second
/// container fails while an agent answers, and is started again.
#[must_use]
pub fn node_pod(agents: &DaemonSet, node: &str, reason: &str) -> Option<Pod> {
    let template = agents.spec.template.spec.clone()?;
    let agent = template.containers.iter().find(|one| one.name == AGENT)?;
    let folders = |names: &[&str]| -> Vec<String> {
        let arguments = agent.args.iter().flatten();
        let kept = arguments.filter(|argument| names.iter().any(|name| argument.starts_with(name)));
        kept.cloned().collect()
    };
    let with = |name: &str, arguments: Vec<String>| Container {
        name: name.to_owned(),
        image: agent.image.clone(),
        image_pull_policy: agent.image_pull_policy.clone(),
        command: agent.command.clone(),
        args: Some(arguments),
        env: agent.env.clone(),
        resources: agent.resources.clone(),
        security_context: agent.security_context.clone(),
        volume_mounts: agent.volume_mounts.clone().map(|mounts| {
            let kept = mounts.into_iter().filter(|one| !is_credential(&one.name));
            kept.collect()
        }),
        ..Container::default()
    };
    let release = ["release".to_owned(), format!("--reason={reason}")];
    let release = release.into_iter().chain(folders(&["--run-dir="]));
    let cleanup = ["cleanup".to_owned()].into_iter();
    let cleanup = cleanup.chain(folders(&["--run-dir=", "--state-dir="]));
    let spec = PodSpec {
        node_name: Some(node.to_owned()),
        restart_policy: Some("OnFailure".to_owned()),
        init_containers: Some(vec![with("release", release.collect())]),
        containers: vec![with("cleanup", cleanup.collect())],
        volumes: Some(volumes(&template)),
        ..template
    };
    Some(Pod {
        metadata: ObjectMeta {
            generate_name: Some("postern-uninstall-".to_owned()),
            namespace: agents.metadata.namespace.clone(),
            labels: Some(
                [
                    (COMPONENT, CLEANER),
                    ("app.kubernetes.io/part-of", "postern"),
                ]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
}

/// The volumes that are left to mount: one that is mounted nowhere would keep the pod waiting for what it names.
fn volumes(template: &PodSpec) -> Vec<Volume> {
    let agent = template.containers.iter().find(|one| one.name == AGENT);
    let mounts = agent
        .and_then(|agent| agent.volume_mounts.clone())
        .unwrap_or_default();
    let all = template.volumes.iter().flatten();
    let kept = all.filter(|volume| {
        !is_credential(&volume.name) && mounts.iter().any(|mount| mount.name == volume.name)
    });
    kept.cloned().collect()
}
