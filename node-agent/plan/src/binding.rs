//! Which pod is behind which interface. Bindings come from the CNI result, never from ARP or a forwarding table.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::{Body, Class, Pod};
use postern_intent::{Address, IfName, Namespace, PodName, Uid};
use serde::{Deserialize, Serialize};

use crate::host::MacAddress;

/// The fact that this pod has these addresses behind this host interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    pub namespace: Namespace,
    pub name: PodName,
    /// The pod's UID; static pods have another one at the kubelet than at the API server.
    pub uid: Uid,
    /// The sandbox's id, as the runtime gave it.
    pub container_id: String,
    /// The interface's name inside the pod: one sandbox may have several networks, and only the first is bound.
    #[serde(default = "first_interface")]
    pub ifname: String,
    pub addresses: BTreeSet<Address>,
    /// The host's end of the pod's link.
    pub host_interface: IfName,
    /// The pod's MAC address, where the link has one.
    pub mac: Option<MacAddress>,
    /// The layer-3 device behind the binding: the bridge that masters the host interface, else the interface itself.
    pub pod_link: IfName,
}

/// The name that kubelets give the interface of a pod's first network.
fn first_interface() -> String {
    "eth0".to_owned()
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
    /// Pods that a body guarded, until a body lists them as released or they are gone: that a later body does not list
    /// them is nobody's word that they may leave. Files from before this was kept have none.
    #[serde(default)]
    pub guarded: BTreeSet<Uid>,
}

/// What a body says of bound pods.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    body: &'a Body,
    by_uid: BTreeMap<&'a Uid, &'a Pod>,
    by_name: BTreeMap<(&'a Namespace, &'a PodName), &'a Pod>,
}

impl<'a> Listing<'a> {
    /// Indexes a body's pods. O(pods · log pods).
    #[must_use]
    pub fn of(body: &'a Body) -> Self {
        Self {
            body,
            by_uid: body.pods.iter().map(|pod| (&pod.uid, pod)).collect(),
            by_name: body
                .pods
                .iter()
                .map(|pod| ((&pod.namespace, &pod.name), pod))
                .collect(),
        }
    }

    /// The class of a bound pod: by its UID, a static pod's by its name. None: the body does not list it.
    #[must_use]
    pub fn class(&self, binding: &Binding) -> Option<&'a Class> {
        // Any other pod of the same name is another pod, and inherits nothing.
        let by_name = || {
            let name = (&binding.namespace, &binding.name);
            self.by_name.get(&name).filter(|_| is_static(&binding.uid))
        };
        let pod = self.by_uid.get(&binding.uid).or_else(by_name)?;
        Some(&pod.class)
    }

    /// Does the body hold a bound pod: by any class but `Released`, or by its namespace while it does not list it?
    #[must_use]
    pub fn guards(&self, binding: &Binding) -> bool {
        match self.class(binding) {
            Some(Class::Released) => false,
            Some(Class::Policy { .. } | Class::Blocked { .. }) => true,
            None => self.body.guarded_namespaces.contains(&binding.namespace),
        }
    }
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

    /// Remembers the bound pods that a body guards.
    pub fn guard(&mut self, body: &Body) {
        let listing = Listing::of(body);
        let bound = self.by_container.values();
        let guarded = bound.filter(|binding| listing.guards(binding));
        self.guarded
            .extend(guarded.map(|binding| binding.uid.clone()));
    }

    /// Ends the guard of the bound pods that a body lists as released. One that it does not list stays as it was.
    pub fn let_go(&mut self, body: &Body) {
        let listing = Listing::of(body);
        for binding in self.by_container.values() {
            if listing.class(binding) == Some(&Class::Released) {
                self.guarded.remove(&binding.uid);
            }
        }
    }

    /// Bound pods that nothing holds but that they were guarded: the body neither lists them nor guards their namespace.
    pub fn unlisted<'a>(&'a self, listing: &'a Listing<'_>) -> impl Iterator<Item = &'a Binding> {
        self.by_container.values().filter(|binding| {
            self.guarded.contains(&binding.uid)
                && listing.class(binding).is_none()
                && !listing.guards(binding)
        })
    }

    /// Forgets pods that went and that the intent no longer lists: that they departed, and that they were guarded. Until
    /// then a pod whose sandbox is made anew is guarded as it was. A static pod comes back under the same UID without the
    /// API server, and no intent lists it by that: its guard stays, one hash for each manifest that was ever guarded.
    pub fn forget_departed(&mut self, listed: &BTreeSet<Uid>) {
        self.departed.retain(|uid| listed.contains(uid));
        let bound: BTreeSet<&Uid> = self.by_container.values().map(|one| &one.uid).collect();
        self.guarded
            .retain(|uid| is_static(uid) || listed.contains(uid) || bound.contains(uid));
    }
}

/// The kubelet knows a static pod by the hash of its manifest (32 hex digits); the API server's pods, mirror pods too, have
/// UUIDs with dashes.
fn is_static(uid: &Uid) -> bool {
    !uid.as_str().contains('-')
}
