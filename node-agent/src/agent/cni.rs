//! What the plugin asks. ADD: every element of the pod's addresses goes, binding and class come, in one batch; then the
//! answer. A pod whose class is not known waits a moment, then starts held.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postern_cni::protocol::{Add, CniRefusal, CniResponse};
use postern_crds::conditions::Reason;
use postern_host::{Host, Nature};
use postern_intent::{IfName, Namespace, Uid, Verified};
use postern_plan::binding::Binding;
use postern_plan::check::Seal;
use tokio::sync::oneshot;

use super::state::Agent;
use super::waiting::WaitingPod;

/// How long ADD waits for the intent to list the pod.
const PATIENCE: Duration = Duration::from_secs(2);

/// Error codes of the CNI specification, "Error".
mod code {
    /// The container is not known.
    pub(super) const UNKNOWN_CONTAINER: u32 = 3;
    /// Try again later: the kubelet does.
    pub(super) const TRY_AGAIN_LATER: u32 = 11;
    /// ADD cannot be served.
    pub(super) const NOT_AVAILABLE: u32 = 50;
}

fn refused(code: u32, reason: Reason, message: impl Into<String>) -> CniResponse {
    CniResponse::Refused(CniRefusal {
        code,
        reason: reason.as_str().to_owned(),
        message: message.into(),
    })
}

fn later(reason: Reason, message: impl Into<String>) -> CniResponse {
    refused(code::TRY_AGAIN_LATER, reason, message)
}

impl<H: Host> Agent<H> {
    /// May an ADD be answered at all?
    pub fn cni_status(&self) -> CniResponse {
        // Where no guard is possible, pods that nobody guards still start: ADD refuses the others one by one.
        let serves_some = self.has_no_guard() && self.body().is_some();
        if self.is_released() || self.kernel.last.seal() == Some(Seal::Sealed) || serves_some {
            CniResponse::Done
        } else {
            refused(
                code::NOT_AVAILABLE,
                Reason::NotSealed,
                "the node's guard is not in place yet",
            )
        }
    }

    /// ADD. The answer may come later.
    pub async fn cni_add(&mut self, request: &Add, answer: oneshot::Sender<CniResponse>) {
        let binding = match self.binding_of(request).await {
            Ok(binding) => binding,
            Err(refusal) => return drop(answer.send(*refusal)),
        };
        if let Some(first) = self.first_network(&binding) {
            return drop(answer.send(self.answer_second_network(&binding, &first)));
        }
        if let Err(refusal) = self.refuse_bypassed(&binding).await {
            return drop(answer.send(*refusal));
        }
        let (namespace, uid) = (binding.namespace.clone(), binding.uid.clone());
        if let Err(refusal) = self.bind(binding).await {
            return drop(answer.send(*refusal));
        }
        if self.is_released() || self.is_listed(&uid) || !self.is_guarded(&namespace, &uid) {
            drop(answer.send(CniResponse::Done));
        } else {
            self.waiting.push(WaitingPod {
                uid,
                until: Instant::now() + PATIENCE,
                answer,
            });
        }
    }

    /// The host interface of the network that the sandbox has already, where this one is another.
    fn first_network(&self, binding: &Binding) -> Option<IfName> {
        let bound = self
            .memory
            .bindings
            .get()
            .by_container
            .get(&binding.container_id)?;
        let first = bound.host_interface.clone();
        (first != binding.host_interface).then_some(first)
    }

    /// A second network of a sandbox (Multus with this plugin in its list too). The first one's binding stays; a pod that is to
    /// be guarded does not start with another way out.
    fn answer_second_network(&self, binding: &Binding, first: &IfName) -> CniResponse {
        if self.is_released() || !self.is_guarded(&binding.namespace, &binding.uid) {
            return CniResponse::Done;
        }
        let message = format!(
            "the pod has a network by {first} already, and the guard is not in front of a second one, {}: take the second network from the pod, or postern-cni out of its list",
            binding.host_interface
        );
        later(Reason::DataplaneBypassed, message)
    }

    fn is_listed(&self, uid: &Uid) -> bool {
        self.body()
            .is_some_and(|body| body.pods.iter().any(|pod| &pod.uid == uid))
    }

    /// Is the pod held unless a body says otherwise? Without a body everybody is, and who was guarded once still is.
    fn is_guarded(&self, namespace: &Namespace, uid: &Uid) -> bool {
        self.memory.bindings.get().guarded.contains(uid)
            || self
                .body()
                .is_none_or(|body| body.guarded_namespaces.contains(namespace))
    }

    /// The request in the words of the plan, with the layer-3 device behind the pod.
    async fn binding_of(&mut self, request: &Add) -> Result<Binding, Box<CniResponse>> {
        let invalid = |what: &str, message: String| {
            Box::new(later(Reason::Invalid, format!("{what}: {message}")))
        };
        if let Err(error) = self.memory.bindings.work_off_departures() {
            return Err(Box::new(later(Reason::NotDurable, error.to_string())));
        }
        let links = self.host.list_links().await;
        let links =
            links.map_err(|error| Box::new(later(Reason::HostUnreadable, error.to_string())))?;
        let Some(host_interface) = request.host_interface.clone() else {
            let message = "the previous plugin names no host interface; chain postern-cni behind one that does";
            return Err(Box::new(later(Reason::NoHostInterface, message)));
        };
        let link = links.iter().find(|link| link.name == host_interface);
        let pod_link = link
            .and_then(|link| link.master.clone())
            .unwrap_or_else(|| host_interface.clone());
        if !self.options.settings.is_pod_link(&pod_link) {
            let message = format!(
                "the pod is behind {pod_link}, which the setting --pod-links ({}) does not match: add it there",
                self.options.settings.pod_links.join(", ")
            );
            return Err(Box::new(later(Reason::UnknownPodLink, message)));
        }
        let mac = request.mac.clone().map(TryInto::try_into).transpose();
        Ok(Binding {
            namespace: request
                .namespace
                .parse()
                .map_err(|e| invalid("namespace", format!("{e}")))?,
            name: request
                .name
                .parse()
                .map_err(|e| invalid("name", format!("{e}")))?,
            uid: request
                .uid
                .parse()
                .map_err(|e| invalid("uid", format!("{e}")))?,
            container_id: request.container_id.clone(),
            ifname: request.ifname.clone(),
            addresses: request.addresses.iter().copied().collect::<BTreeSet<_>>(),
            host_interface: host_interface
                .parse()
                .map_err(|e| invalid("hostInterface", format!("{e}")))?,
            mac: mac.map_err(|e: postern_plan::host::MacError| invalid("mac", e.to_string()))?,
            pod_link: pod_link
                .parse()
                .map_err(|e| invalid("pod link", format!("{e}")))?,
        })
    }

    /// A pod that is to be guarded does not start where the guard would not see it.
    async fn refuse_bypassed(&self, binding: &Binding) -> Result<(), Box<CniResponse>> {
        if self.is_released() || !self.is_guarded(&binding.namespace, &binding.uid) {
            return Ok(());
        }
        let found = self.bypass_of(binding).await;
        match found.map_err(|error| Box::new(later(Reason::HostUnreadable, error.to_string())))? {
            None => Ok(()),
            Some((link, bypass)) => {
                let message = format!("the guard does not see the packets of {link}: {bypass}");
                Err(Box::new(later(Reason::DataplaneBypassed, message)))
            }
        }
    }

    async fn bind(&mut self, binding: Binding) -> Result<(), Box<CniResponse>> {
        let (namespace, uid) = (binding.namespace.clone(), binding.uid.clone());
        let addresses = binding.addresses.clone();
        let body = self.documents.verified.as_deref().map(Verified::get);
        let added = self.memory.bindings.change(|bindings| {
            bindings.add(binding);
            if let Some(body) = body {
                bindings.guard(body);
                bindings.let_go(body);
            }
        });
        added.map_err(|error| Box::new(later(Reason::NotDurable, error.to_string())))?;
        if self.is_released() {
            return Ok(());
        }
        if let Err(error) = self.apply_bindings().await {
            // A node that can have no guard at all holds nobody: only pods that nobody guards may start there.
            if error.nature() == Nature::Unsupported
                && self.body().is_some()
                && !self.is_guarded(&namespace, &uid)
            {
                return Ok(());
            }
            return Err(Box::new(later(Reason::NotSealed, error.to_string())));
        }
        if let Some(address) = addresses.intersection(&self.uncut()).next() {
            let message = format!("flows of the pod that had {address} before are not cut yet");
            return Err(Box::new(later(Reason::FlowsNotCut, message)));
        }
        if self.kernel.last.seal() == Some(Seal::Sealed) {
            Ok(())
        } else {
            Err(Box::new(later(
                Reason::NotSealed,
                "the node's guard is not in place yet",
            )))
        }
    }

    /// DEL. The end of a further network of a sandbox takes nothing from its first one.
    pub async fn cni_del(&mut self, container: &str, ifname: &str) -> CniResponse {
        let bound = self.memory.bindings.get().by_container.get(container);
        if bound.is_some_and(|bound| bound.ifname != ifname) {
            return CniResponse::Done;
        }
        if let Err(error) = self.memory.bindings.remove(container) {
            return later(Reason::NotDurable, error.to_string());
        }
        if let Err(error) = self.apply_bindings().await {
            // The binding is gone from the file: the next run takes it out of the kernel, and ADD of the address does
            // too before it answers.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a binding could not be taken out yet"
            );
        }
        CniResponse::Done
    }

    /// CHECK: is the binding the one that ADD made?
    pub fn cni_check(&self, container: &str) -> CniResponse {
        if self
            .memory
            .bindings
            .get()
            .by_container
            .contains_key(container)
        {
            CniResponse::Done
        } else {
            refused(
                code::UNKNOWN_CONTAINER,
                Reason::NotBound,
                "the agent has no binding of this sandbox",
            )
        }
    }

    /// GC: every sandbox that the runtime does not name is gone.
    pub async fn cni_gc(&mut self, valid: &[String]) -> CniResponse {
        if let Err(error) = self.memory.bindings.keep_only(valid) {
            return later(Reason::NotDurable, error.to_string());
        }
        if let Err(error) = self.apply_bindings().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "bindings could not be taken out yet"
            );
        }
        CniResponse::Done
    }

    /// Answers ADDs whose pod is classified now, or whose patience is over: such a pod starts held.
    pub async fn answer_waiting(&mut self) {
        let now = Instant::now();
        let sealed = self.is_released() || self.kernel.last.seal() == Some(Seal::Sealed);
        let waiting = std::mem::take(&mut self.waiting);
        for one in waiting {
            let over = self.is_listed(&one.uid) || self.is_released() || one.until <= now;
            if over && sealed {
                drop(one.answer.send(CniResponse::Done));
            } else if over {
                let message = "the node's guard is not in place any more";
                drop(one.answer.send(later(Reason::NotSealed, message)));
            } else {
                self.waiting.push(one);
            }
        }
    }

    /// When the next ADD's patience is over.
    pub fn next_patience(&self) -> Option<Instant> {
        self.waiting.iter().map(|one| one.until).min()
    }
}
