//! CoreDNS, with the objects that kubeadm makes of it.

use serde_json::{Value, json};

use crate::cluster::nodes::images::COREDNS;
use crate::lab::{Lab, LabError};

/// kubeadm's, without the metrics that nothing here scrapes, and without upstream servers: the judge would count questions to
/// the world as packets of the resolver's node that no pod owns.
const COREFILE: &str = "\
.:53 {
    errors
    health {
        lameduck 1s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    cache 30
    reload
    loadbalance
}
";

impl Lab {
    /// Installs CoreDNS and its Service. Its pod starts as soon as a node takes pods without a toleration.
    pub(in crate::cluster) fn install_coredns(&self) -> Result<(), LabError> {
        self.kubectl_apply(&objects())?;
        self.create_resolver_service()
    }
}

fn objects() -> Vec<Value> {
    let name = |namespaced: bool| match namespaced {
        true => json!({"namespace": "kube-system", "name": "coredns"}),
        false => json!({"name": "system:coredns"}),
    };
    let rbac = "rbac.authorization.k8s.io/v1";
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name(true)}),
        json!({
            "apiVersion": rbac, "kind": "ClusterRole", "metadata": name(false),
            "rules": [
                {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        }),
        json!({
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": name(false),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
        }),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": name(true), "data": {"Corefile": COREFILE}}),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": name(true),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
                "template": {
                    "metadata": {"labels": {"k8s-app": "kube-dns"}},
                    "spec": {
                        "serviceAccountName": "coredns", "dnsPolicy": "Default",
                        "priorityClassName": "system-cluster-critical",
                        "containers": [{
                            "name": "coredns", "image": COREDNS, "imagePullPolicy": "Never",
                            "args": ["-conf", "/etc/coredns/Corefile"],
                            "volumeMounts": [{"name": "configuration", "mountPath": "/etc/coredns", "readOnly": true}],
                            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                            "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
                        }],
                        "volumes": [{"name": "configuration", "configMap": {"name": "coredns"}}],
                    },
                },
            },
        }),
    ]
}
