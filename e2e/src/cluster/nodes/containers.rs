//! Pods as containers, and their network namespaces by the names of the lab.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::nodes::images::PAUSE;
use crate::lab::sandbox::command;
use crate::lab::topology::Node;
use crate::lab::{Binaries, Lab, LabError, PodOptions, PodRecord};

/// A hierarchy of version 1 that every container has a group in.
const HIERARCHY: &str = "/sys/fs/cgroup/memory";

/// Folders of the machine that the programs of the lab load their libraries from.
const LIBRARIES: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];

impl Lab {
    /// The part of a Pod object that a kubelet needs besides what every lab writes: the lab's image, the program's
    /// libraries, and a file for what it prints.
    pub(in crate::cluster) fn container_spec(
        &self,
        pod: &PodRecord,
        options: &PodOptions,
    ) -> Result<Value, LabError> {
        let log = self.log(&pod.key().replace('/', ".")).display().to_string();
        let mut command = vec![
            "/bin/sh".to_owned(),
            "-c".into(),
            r#"exec "$@" >>"$0" 2>&1"#.into(),
            log,
        ];
        if options.command.is_empty() {
            command.extend(["/bin/sleep".into(), "infinity".into()]);
        }
        command.extend(
            options
                .command
                .iter()
                .map(|part| part.to_string_lossy().into_owned()),
        );
        let env: Vec<Value> = pod
            .env()
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let programs = Binaries::locate()?.lab();
        let programs = programs.parent().unwrap_or(Path::new("/"));
        let mut folders = vec![(self.dir(), false), (programs, true)];
        folders.extend(LIBRARIES.map(|folder| (Path::new(folder), true)));
        let (mut mounts, mut volumes) = (Vec::new(), Vec::new());
        for (number, (folder, read_only)) in folders.into_iter().enumerate() {
            let name = format!("folder-{number}");
            mounts.push(json!({"name": name, "mountPath": folder, "readOnly": read_only}));
            volumes.push(json!({"name": name, "hostPath": {"path": folder}}));
        }
        Ok(json!({
            "containers": [{
                "name": "main", "image": PAUSE, "imagePullPolicy": "Never", "command": command, "env": env,
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
            // The pod is bound to its node by its object, and must start on a node that still has the startup taint.
            "tolerations": [{"operator": "Exists"}],
        }))
    }

    /// Gives the network namespace of a container the name that the lab knows a pod's by, and remembers its addresses.
    pub(in crate::cluster) fn adopt_container(
        &self,
        mut pod: PodRecord,
        object: &Value,
    ) -> Result<PodRecord, LabError> {
        let node = self.node(&pod.node)?;
        let process = self.first_container_process(&node, &pod.uid)?;
        let sandbox = self.namespace(&pod.sandbox());
        let path = sandbox.path();
        File::create(path).map_err(LabError::file("create", path))?;
        let namespace = format!("/proc/{process}/ns/net");
        command::run(Command::new("mount").args(["--bind", &namespace]).arg(path))?;
        let addresses = object.pointer("/status/podIPs").and_then(Value::as_array);
        let addresses = addresses.into_iter().flatten();
        let addresses = addresses.filter_map(|one| one["ip"].as_str()?.parse().ok());
        pod.addresses = addresses.collect::<Vec<IpAddr>>();
        pod.addresses.sort();
        self.save_pod(&pod)?;
        Ok(pod)
    }

    /// Lets go of a container's network namespace: a kubelet frees it only when nothing holds it.
    pub(in crate::cluster) fn forget_container(&self, pod: &PodRecord) -> Result<(), LabError> {
        self.namespace(&pod.sandbox()).delete()?;
        self.bury_pod(pod)
    }

    fn first_container_process(&self, node: &Node, uid: &str) -> Result<u32, LabError> {
        let root = format!("{HIERARCHY}{}", self.node_cgroup(node)?);
        let group = find(Path::new(&root), &format!("pod{uid}"));
        let processes = group.into_iter().flat_map(|group| {
            let containers = fs::read_dir(group).into_iter().flatten().flatten();
            containers.filter_map(|container| {
                let text = fs::read_to_string(container.path().join("cgroup.procs")).ok()?;
                text.lines().next()?.parse().ok()
            })
        });
        processes.min().ok_or_else(|| LabError::NoPod {
            name: uid.to_owned(),
        })
    }
}

/// The folder of this name, at any depth below.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    let here = folders.iter().find(|path| path.ends_with(name)).cloned();
    here.or_else(|| folders.iter().find_map(|folder| find(folder, name)))
}
