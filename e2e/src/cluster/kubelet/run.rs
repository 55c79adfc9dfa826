//! The watch over all pods of the lab's nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Api;
use crate::cluster::kubelet::end_signal::EndSignal;
use crate::cluster::kubelet::lifecycle::{PodLifecycle, remove_object};
use crate::cluster::pods::text;
use crate::lab::Lab;
use crate::lab::error::{LabError, chain};

/// Pause before the pods are listed again, when a watch has ended.
const PAUSE: Duration = Duration::from_millis(200);

/// The process `lab run kubelet`. It ends when it is killed.
///
/// # Errors
/// When the lab's state cannot be read; an API server that is away is waited for.
pub(crate) fn kubelet(lab: &Lab) -> Result<(), LabError> {
    let mut kubelet = Kubelet {
        lab: lab.clone(),
        api: Api::of(lab),
        pods: BTreeMap::new(),
        taken: BTreeSet::new(),
    };
    let mut reported = String::new();
    loop {
        // Every watch ends some day; only what has not been told yet is worth a line.
        if let Err(error) = kubelet.follow() {
            let text = chain(&error);
            if text != reported {
                eprintln!("{text}");
                reported = text;
            }
        }
        thread::sleep(PAUSE);
    }
}

struct Kubelet {
    lab: Lab,
    api: Api,
    /// The pods that have been taken on and whose objects are there, by UID.
    pods: BTreeMap<String, EndSignal>,
    /// Every pod that this process has ever taken on: each has a thread that takes it down.
    taken: BTreeSet<String>,
}

impl Kubelet {
    /// Lists all pods, then follows their changes to the end of the watch.
    fn follow(&mut self) -> Result<(), LabError> {
        let list = self.api.get("/api/v1/pods")?.unwrap_or(Value::Null);
        let items = list.get("items").and_then(Value::as_array);
        let mut there = BTreeSet::new();
        for pod in items.into_iter().flatten() {
            there.insert(text(pod, "/metadata/uid").to_owned());
            self.observe(pod)?;
        }
        // What was deleted while nobody looked.
        self.pods.retain(|uid, end_signal| {
            if !there.contains(uid) {
                end_signal.send();
            }
            there.contains(uid)
        });
        self.end_orphans(&there)?;
        let version = text(&list, "/metadata/resourceVersion");
        let path = format!("/api/v1/pods?watch=true&resourceVersion={version}");
        for line in self.api.watch(&path)?.lines() {
            let socket = self.lab.plane_dir();
            let line = line.map_err(LabError::file("watch pods through", socket))?;
            let event: Value =
                serde_json::from_str(&line).map_err(LabError::json("an event of a watch"))?;
            let object = event.get("object").unwrap_or(&Value::Null);
            match text(&event, "/type") {
                "ADDED" | "MODIFIED" => self.observe(object)?,
                "DELETED" => {
                    if let Some(end_signal) = self.pods.remove(text(object, "/metadata/uid")) {
                        end_signal.send();
                    }
                }
                // An error ends the watch; the next list says what is there.
                _ => break,
            }
        }
        Ok(())
    }

    /// Takes a new pod on, or ends one that is to be deleted.
    fn observe(&mut self, pod: &Value) -> Result<(), LabError> {
        let uid = text(pod, "/metadata/uid");
        let nodes = self.lab.state()?.nodes;
        let name = text(pod, "/spec/nodeName");
        let Some(node) = nodes.iter().find(|node| node.name == name) else {
            return Ok(());
        };
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            return match self.pods.get(uid) {
                Some(end_signal) => {
                    end_signal.send();
                    Ok(())
                }
                None => self.end_unknown(pod),
            };
        }
        let over = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if over || self.pods.contains_key(uid) {
            return Ok(());
        }
        let end_signal = EndSignal::default();
        self.pods.insert(uid.to_owned(), end_signal.clone());
        self.taken.insert(uid.to_owned());
        let lifecycle = PodLifecycle::of(&self.lab, node, pod, end_signal);
        let on_host = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
        thread::spawn(move || {
            if on_host {
                lifecycle.live_on_host();
            } else {
                lifecycle.live();
            }
        });
        Ok(())
    }

    /// A pod that was deleted before it was taken on, or by a kubelet before this one.
    fn end_unknown(&self, pod: &Value) -> Result<(), LabError> {
        let uid = text(pod, "/metadata/uid");
        if let Some(record) = self.lab.pods()?.into_iter().find(|pod| pod.uid == uid) {
            self.lab.end_pod(&record)?;
            self.lab.bury_pod(&record)?;
        }
        let [namespace, name] = ["/metadata/namespace", "/metadata/name"].map(|at| text(pod, at));
        remove_object(&self.api, namespace, name, uid)
    }

    /// Pods that an earlier kubelet made and whose objects are gone.
    fn end_orphans(&self, there: &BTreeSet<String>) -> Result<(), LabError> {
        for pod in self.lab.pods()? {
            if !there.contains(&pod.uid) && !self.taken.contains(&pod.uid) {
                self.lab.end_pod(&pod)?;
                self.lab.bury_pod(&pod)?;
            }
        }
        Ok(())
    }
}
