//! Services of the lab as objects: what `service create` and `nodeport create` make besides the translation.

use serde_json::{Value, json};

use crate::cluster::{Api, PatchKind};
use crate::lab::LabError;
use crate::lab::topology;
use crate::lab::{Lab, PodRecord, Service, TrafficPolicy};

/// The namespace of services that have no other.
const NAMESPACE: &str = "default";

impl Lab {
    /// Makes the Service and the EndpointSlice of a service that has no selector.
    pub(crate) fn create_service_objects(&self, service: &Service) -> Result<(), LabError> {
        let api = Api::of(self);
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services");
        api.create(&path, &service_object(service))?;
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{}",
            service.name
        );
        api.patch(
            &path,
            PatchKind::Apply,
            &slice_object(service, self.node_of(service)?.as_deref()),
        )
        .map(drop)
    }

    /// The node of a Service's endpoint, if it is a pod: `externalTrafficPolicy: Local` looks for endpoints of a node.
    fn node_of(&self, service: &Service) -> Result<Option<String>, LabError> {
        let pods = self.pods()?;
        let own = |pod: &&PodRecord| pod.addresses.contains(&service.to_address);
        Ok(pods.iter().find(own).map(|pod| pod.node.clone()))
    }

    pub(crate) fn delete_service_objects(&self, name: &str) -> Result<(), LabError> {
        let api = Api::of(self);
        for path in [
            format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{name}"),
            format!("/api/v1/namespaces/{NAMESPACE}/services/{name}"),
        ] {
            api.delete(&path, &Value::Null)?;
        }
        Ok(())
    }

    /// The cluster's resolver: a service of both families whose endpoints the controllers find by its pods' label.
    pub(crate) fn create_resolver_service(&self) -> Result<(), LabError> {
        let (four, six) = (topology::DNS4.to_string(), topology::DNS6.to_string());
        let object = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": "kube-system", "name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
            "spec": {
                "clusterIP": four, "clusterIPs": [four, six],
                "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
                "selector": {"k8s-app": "kube-dns"},
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        });
        let path = "/api/v1/namespaces/kube-system/services";
        Api::of(self).create(path, &object).map(drop)
    }
}

fn family(service: &Service) -> &'static str {
    if service.to_address.is_ipv6() {
        "IPv6"
    } else {
        "IPv4"
    }
}

/// One port for TCP and one for UDP, as the lab translates both.
fn ports(of: impl Fn(Value) -> Value) -> Vec<Value> {
    ["TCP", "UDP"]
        .into_iter()
        .map(|protocol| of(json!({"name": protocol.to_lowercase(), "protocol": protocol})))
        .collect()
}

pub(crate) fn service_object(service: &Service) -> Value {
    let mut spec = json!({
        "ipFamilies": [family(service)],
        "ports": ports(|mut port| {
            port["port"] = json!(service.port);
            port["targetPort"] = json!(service.to_port);
            if service.cluster_ip.is_none() {
                port["nodePort"] = json!(service.port);
            }
            port
        }),
    });
    match service.cluster_ip {
        Some(address) => spec["clusterIP"] = json!(address),
        None => {
            spec["type"] = json!("NodePort");
            spec["externalTrafficPolicy"] = match service.policy {
                TrafficPolicy::Cluster => json!("Cluster"),
                TrafficPolicy::Local => json!("Local"),
            };
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": NAMESPACE, "name": service.name}, "spec": spec,
    })
}

fn slice_object(service: &Service, node: Option<&str>) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": NAMESPACE, "name": service.name,
            "labels": {"kubernetes.io/service-name": service.name},
        },
        "addressType": family(service),
        "endpoints": [{"addresses": [service.to_address], "conditions": {"ready": true}, "nodeName": node}],
        "ports": ports(|mut port| {
            port["port"] = json!(service.to_port);
            port
        }),
    })
}
