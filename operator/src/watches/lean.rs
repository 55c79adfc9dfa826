//! What is taken away from objects before they are kept: everything that nobody reads. A pod of some kilobytes
//! becomes one of some hundred bytes, and a heartbeat changes nothing.

use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, NodeSpec, NodeStatus, Pod, PodSpec, PodStatus, Service,
    ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use postern_crds::conditions::Reason;
use postern_crds::node_report::{ExitReport, Posture, ScopeReport};
use postern_crds::{NodeIntent, NodeReport, NodeReportStatus};

use super::object::WatchedObject;

/// Only what names, selects and ends an object.
fn metadata(metadata: &mut ObjectMeta) {
    let full = std::mem::take(metadata);
    *metadata = ObjectMeta {
        name: full.name,
        namespace: full.namespace,
        uid: full.uid,
        labels: full.labels,
        deletion_timestamp: full.deletion_timestamp,
        ..ObjectMeta::default()
    };
}

pub(super) const fn keep<K>(_: &mut K) {}

pub(super) fn pod(pod: &mut Pod) {
    metadata(&mut pod.metadata);
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        host_network: spec.host_network,
        ..PodSpec::default()
    });
    pod.status = pod.status.take().map(|status| PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        pod_ips: status.pod_ips,
        ..PodStatus::default()
    });
}

pub(super) fn node(node: &mut Node) {
    metadata(&mut node.metadata);
    node.spec = node.spec.take().map(|spec| NodeSpec {
        pod_cidr: spec.pod_cidr,
        pod_cidrs: spec.pod_cidrs,
        taints: spec.taints,
        unschedulable: spec.unschedulable,
        ..NodeSpec::default()
    });
    node.status = node.status.take().map(|status| NodeStatus {
        addresses: status.addresses,
        ..NodeStatus::default()
    });
}

pub(super) fn namespace(namespace: &mut Namespace) {
    metadata(&mut namespace.metadata);
    namespace.spec = None;
    namespace.status = None;
}

pub(super) fn service(service: &mut Service) {
    metadata(&mut service.metadata);
    service.metadata.labels = None;
    service.spec = service.spec.take().map(|spec| ServiceSpec {
        cluster_ip: spec.cluster_ip,
        cluster_ips: spec.cluster_ips,
        type_: spec.type_,
        external_ips: spec.external_ips,
        ports: spec.ports.map(|ports| {
            let ports = ports.into_iter();
            ports
                .map(|port| ServicePort {
                    port: port.port,
                    node_port: port.node_port,
                    ..ServicePort::default()
                })
                .collect()
        }),
        ..ServiceSpec::default()
    });
    if let Some(status) = &mut service.status {
        status.conditions = None;
    }
}

/// The compiler reads a fixed projection, rotation which keys are trusted, and a trace's end when what was applied. What a
/// node counts wakes nobody.
pub(super) fn report(report: &mut NodeReport) {
    metadata(&mut report.metadata);
    let Some(status) = &mut report.status else {
        return;
    };
    // Named one by one, so that a new field does not compile until it is decided whether it is read.
    let NodeReportStatus {
        applied_serial: _,
        applied_cluster_serial: _,
        applied_digest: _,
        verified_at: _,
        ledger_serial: _,
        ledger_cluster_serial: _,
        key_set_version: _,
        trusted_key_ids: _,
        public_keys: _,
        served: _,
        body_formats: _,
        conditions,
        scopes,
        exits,
        isolation,
        agent_version,
        released,
        guarded_namespaces,
        applied_pods,
        mismatches,
        refusals,
        counters,
        capabilities,
    } = status;
    conditions.iter_mut().for_each(bare);
    scopes.iter_mut().for_each(scope);
    exits.iter_mut().for_each(exit);
    // It moves with every reading of the links.
    isolation
        .iter_mut()
        .for_each(|isolation| isolation.epoch = 0);
    agent_version.clear();
    *released = false;
    guarded_namespaces.clear();
    *applied_pods = None;
    mismatches.clear();
    refusals.clear();
    counters.clear();
    *capabilities = None;
}

/// What a policy's status is made from.
fn scope(scope: &mut ScopeReport) {
    scope.posture = Posture::default();
    scope.exit = None;
}

/// Without the handshake, which moves all the time.
fn exit(exit: &mut ExitReport) {
    exit.last_handshake = None;
}

/// Are two intents the same but for their status? The operator writes that one itself, and decides nothing by it.
pub(super) fn same_intent(a: &WatchedObject<NodeIntent>, b: &WatchedObject<NodeIntent>) -> bool {
    match (a.good(), b.good()) {
        (Some(a), Some(b)) => {
            let same = |a: &ObjectMeta, b: &ObjectMeta| {
                (&a.uid, &a.annotations, &a.deletion_timestamp)
                    == (&b.uid, &b.annotations, &b.deletion_timestamp)
            };
            a.spec == b.spec && same(&a.metadata, &b.metadata)
        }
        _ => a == b,
    }
}

/// Are two reports the same but for the time of the last reading and for messages? Both may move all the time.
pub(super) fn same_report(a: &WatchedObject<NodeReport>, b: &WatchedObject<NodeReport>) -> bool {
    fn timeless(report: &NodeReport) -> NodeReport {
        let mut report = report.clone();
        if let Some(status) = &mut report.status {
            status.verified_at = None;
            for condition in &mut status.conditions {
                condition.message = String::new();
            }
        }
        report
    }
    match (a.good(), b.good()) {
        (Some(a), Some(b)) => timeless(a) == timeless(b),
        _ => a == b,
    }
}

/// A condition without times, and without its message where it holds: of a fault people read what to do. Of a reason that
/// this version does not know there are no words but the node's own.
fn bare(condition: &mut Condition) {
    if condition.status == "True" && Reason::parse(&condition.reason).is_some() {
        condition.message.clear();
    }
    condition.observed_generation = None;
    condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
}

/// ConfigMaps that the operator reads.
fn is_ours(name: &str) -> bool {
    // The pages of the memory begin with its name.
    name == crate::signer::TRUST
        || name == postern_crds::names::APPROVALS_CONFIG_MAP
        || name.starts_with(postern_crds::names::MEMORY_CONFIG_MAP)
}

pub(super) fn config_map(map: &mut ConfigMap) {
    let ours = map.metadata.name.as_deref().is_some_and(is_ours);
    if !ours {
        metadata(&mut map.metadata);
        map.data = None;
        map.binary_data = None;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Pod};
    use postern_compile::intake;
    use postern_compile::snapshot::{NodeScheduling, Possession};
    use postern_crds::{NodeIntent, NodeReport};
    use postern_intent::WgKey;
    use serde_json::{Value, json};

    use crate::watches::WatchedObject;

    fn report(status: &Value) -> WatchedObject<NodeReport> {
        let mut report: NodeReport = serde_json::from_value(json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
            "metadata": {"name": "n1", "resourceVersion": "9"},
            "spec": {"nodeUID": "u"}, "status": status,
        }))
        .expect("a report");
        super::report(&mut report);
        WatchedObject::Good(report)
    }

    #[test]
    fn a_report_that_only_read_back_again_wakes_nobody_and_one_that_applied_something_does() {
        let first = json!({"appliedSerial": 1, "appliedDigest": "a", "verifiedAt": "2026-01-01T00:00:00.000000Z"});
        let mut again = first.clone();
        again["verifiedAt"] = "2026-01-01T00:01:00.000000Z".into();
        again["counters"] = json!({"packets_held": 7});
        let mut other = again.clone();
        other["appliedDigest"] = "b".into();
        let (first, again, other) = (report(&first), report(&again), report(&other));
        assert_ne!(first, again, "the newer time is kept");
        assert!(super::same_report(&first, &again));
        assert!(!super::same_report(&again, &other));
    }

    /// A report that says something in every field that the compiler reads.
    fn telling() -> NodeReport {
        let digest = "0123456789abcdef";
        let key = WgKey::from_bytes([7; 32]).expect("a key").to_string();
        let status = json!({
            "appliedSerial": 1, "appliedDigest": "a", "appliedClusterSerial": 2, "ledgerSerial": 3, "ledgerClusterSerial": 4,
            "verifiedAt": "2026-01-01T00:00:00.000000Z", "bodyFormats": [2], "keySetVersion": 5, "trustedKeyIds": ["k"],
            "conditions": [{"type": "FailClosed", "status": "True", "reason": "Sealed", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "publicKeys": {"wireguard": key, "wireguardProofs": [{"keyId": "k", "mac": key}]},
            "scopes": [{
                "id": "shop/p@eu", "digest": digest, "posture": "Sealed", "state": "Blocked", "reason": "NoTunnel",
                "policy": {"namespace": "shop", "name": "p", "uid": "p1", "generation": 1}, "exit": "eu",
                "resolvers": "Silent", "pods": {"enforced": 1, "blocked": 2, "unenforceable": 3},
            }],
            "exits": [{
                "exit": "eu", "digest": digest, "mtu": 1420, "healthy": true,
                "lastHandshake": "2026-01-01T00:00:00.000000Z",
                "paths": [{"family": "IPv4", "state": "Broken", "hop": "Tunnel", "message": "no answer"}],
            }],
            "served": [{"exit": "us", "digest": digest, "mtu": 1380, "paths": [{"family": "IPv6", "state": "Works"}]}],
        });
        let object = json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport", "metadata": {"name": "n1"},
            "spec": {"nodeUID": "u"}, "status": status,
        });
        serde_json::from_value(object).expect("a report")
    }

    #[test]
    fn the_compiler_reads_of_a_kept_report_what_it_reads_of_the_whole_one() {
        let object = telling();
        let mut kept = object.clone();
        super::report(&mut kept);
        let now = "2026-01-01T00:00:01Z".parse().expect("a time");
        let read = |object| intake::report(object, now, &|_, proofs| !proofs.is_empty());
        let read = |object| read(object).expect("a report");
        let (kept, whole) = (read(&kept), read(&object));
        assert_eq!(kept, whole);
        // Nothing of the fixture was refused on the way, or the comparison would be of nothing.
        let known = kept.ledger_cluster_serial.map(|serial| serial.0);
        assert_eq!(known, Some(4));
        let proved = kept.key.map(|key| key.possession);
        assert_eq!(proved, Some(Possession::Proved));
        let scope = kept.scopes.values().next().expect("a scope");
        assert_eq!((scope.blocked_pods, scope.unenforceable), (2, 3));
        let (used, served) = (kept.exits.values().next(), kept.served.values().next());
        let (used, served) = (
            used.expect("an exit"),
            served.expect("an exit that it serves"),
        );
        assert!(scope.digest.is_some() && used.digest.is_some() && served.digest.is_some());
        assert_eq!((used.mtu, used.faults.len()), (Some(1420), 1));
        assert_eq!((served.mtu, served.judged.len()), (Some(1380), 1));
    }

    #[test]
    fn the_compiler_reads_of_a_kept_node_and_pod_what_it_reads_of_the_whole_ones() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "uid": "u", "labels": {"exit": "eu"}, "annotations": {"a": "b"}},
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"], "unschedulable": true,
                "providerID": "p"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}], "nodeInfo": null},
        }))
        .expect("a node");
        let mut kept = node.clone();
        super::node(&mut kept);
        let read = intake::node(&node).expect("a node");
        assert_eq!(intake::node(&kept).expect("a node"), read);
        assert_eq!(read.scheduling, NodeScheduling::Cordoned);
        assert_eq!((read.pod_ranges.len(), read.addresses.len()), (2, 1));
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop", "uid": "u", "labels": {"app": "p"},
                "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n1", "hostNetwork": true, "containers": []},
            "status": {"phase": "Running", "podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}, {"ip": "fd00:1::2"}]},
        }))
        .expect("a pod");
        let mut kept = pod.clone();
        super::pod(&mut kept);
        let read = |pod| intake::pod(pod).expect("a pod");
        assert!(read(&pod).is_some());
        assert_eq!(read(&kept), read(&pod));
    }

    #[test]
    fn an_intent_whose_status_alone_moved_wakes_nobody_and_one_that_says_something_else_does() {
        let intent = |version: &str, applied: u64, serial: u64, epoch: &str| {
            let intent: NodeIntent = serde_json::from_value(json!({
                "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent",
                "metadata": {"name": "n1", "uid": "o1", "resourceVersion": version, "annotations": {"epoch": epoch}},
                "spec": {"nodeUID": "u", "serial": serial}, "status": {"appliedSerial": applied},
            }))
            .expect("an intent");
            WatchedObject::Good(intent)
        };
        let first = intent("9", 1, 2, "1");
        assert!(super::same_intent(&first, &intent("10", 2, 2, "1")));
        assert!(!super::same_intent(&first, &intent("10", 1, 3, "1")));
        assert!(!super::same_intent(&first, &intent("10", 1, 2, "2")));
        let mut gone = intent("10", 1, 2, "1");
        gone.modify(|intent| intent.metadata.uid = Some("o2".to_owned()));
        assert!(!super::same_intent(&first, &gone), "it was made anew");
    }

    #[test]
    fn the_message_of_what_holds_is_kept_where_its_reason_is_unknown() {
        let condition = |reason: &str| {
            json!({
                "type": "FailClosed", "status": "True", "reason": reason, "message": "it is",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let conditions = [condition("Sealed"), condition("SealedTwice")];
        let read = report(&json!({"conditions": conditions}));
        let status = read.good().and_then(|report| report.status.as_ref());
        let conditions = status.expect("a status").conditions.iter();
        let messages: Vec<&str> = conditions.map(|one| one.message.as_str()).collect();
        assert_eq!(messages, ["", "it is"]);
    }

    #[test]
    fn a_lean_pod_is_taken_in_as_the_full_one() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "9",
                "labels": {"app": "x"}, "annotations": {"big": "one"},
                "deletionTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"nodeName": "n1", "hostNetwork": true, "containers": [{"name": "c", "image": "i"}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
        .expect("a pod");
        let full = intake::pod(&pod).expect("a good pod");
        super::pod(&mut pod);
        assert_eq!(intake::pod(&pod).expect("a good pod"), full);
        assert!(pod.metadata.annotations.is_none() && pod.metadata.resource_version.is_none());
    }
}
