//! Which pod is behind which interface. Bindings come from the CNI result, never from ARP or a forwarding table.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{Address, IfName, Namespace, PodName, Uid};
use serde::{Deserialize, Serialize};

use crate::host::MacAddress;

/// The fact that this pod has these addresses behind this host interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod's name.
    pub name: PodName,
    /// The pod's UID; static pods have another one at the kubelet than at the API server.
    pub uid: Uid,
    /// The sandbox's id, as the runtime gave it.
    pub container_id: String,
    /// The pod's addresses.
    pub addresses: BTreeSet<Address>,
    /// The host's end of the pod's link.
    pub host_interface: IfName,
    /// The pod's MAC address, where the link has one.
    pub mac: Option<MacAddress>,
    /// The layer-3 device behind the binding: the bridge that masters the host interface, else the interface itself.
    pub pod_link: IfName,
}

/// All bindings of the node, with the pods that went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bindings {
    /// By the sandbox's id.
    pub by_container: BTreeMap<String, Binding>,
    /// Pods whose DEL was seen, until no intent lists them: an intent that is older than the DEL must not give their
    /// addresses to anybody.
    pub departed: BTreeSet<Uid>,
}

impl Bindings {
    /// Adds a binding. Other bindings of the same addresses go: an address has one owner, the last one.
    pub fn add(&mut self, binding: Binding) {
        self.by_container.retain(|id, other| {
            id == &binding.container_id || other.addresses.is_disjoint(&binding.addresses)
        });
        self.departed.remove(&binding.uid);
        self.by_container
            .insert(binding.container_id.clone(), binding);
    }

    /// Removes a sandbox's binding and remembers that its pod went.
    pub fn remove(&mut self, container_id: &str) -> Option<Binding> {
        let binding = self.by_container.remove(container_id)?;
        self.departed.insert(binding.uid.clone());
        Some(binding)
    }

    /// The sandbox that has this address now.
    #[must_use]
    pub fn owner(&self, address: &Address) -> Option<&Binding> {
        self.by_container
            .values()
            .find(|binding| binding.addresses.contains(address))
    }

    /// Forgets departed pods that the intent no longer lists.
    pub fn forget_departed(&mut self, listed: &BTreeSet<Uid>) {
        self.departed.retain(|uid| listed.contains(uid));
    }
}
