//! What was read of the cluster.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Service};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use postern_crds::NodeReport;
use serde::Serialize;

/// A part of the cluster, or why it could not be read.
pub type ReadPart<T> = Result<T, String>;

#[derive(Debug, Clone, PartialEq)]
pub struct InstallReading {
    /// The namespace that Postern is to be in.
    pub namespace_name: String,
    /// The API server's version, such as `v1.37.2`.
    pub server_version: ReadPart<String>,
    pub nodes: ReadPart<Vec<Node>>,
    pub daemon_sets: ReadPart<Vec<DaemonSet>>,
    /// ConfigMap `kube-system/kube-proxy`; none: there is none.
    pub proxy_configuration: ReadPart<Option<ConfigMap>>,
    pub services: ReadPart<Vec<Service>>,
    pub service_ranges: ReadPart<Vec<ServiceCIDR>>,
    pub definitions: ReadPart<Vec<CustomResourceDefinition>>,
    /// The namespace; none: there is none yet.
    pub namespace: ReadPart<Option<Namespace>>,
    /// The operator that is there already.
    pub operator: ReadPart<Option<Deployment>>,
    /// The reports of agents; empty before any runs.
    pub reports: ReadPart<Vec<NodeReport>>,
    pub rights: ReadPart<Vec<RightAnswer>>,
}

/// A right in the words of RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AccessRight {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    /// Whether it is asked for in the namespace of Postern or for the cluster.
    #[serde(skip)]
    pub is_namespaced: bool,
}

/// The API server's answer about one right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightAnswer {
    pub right: AccessRight,
    pub is_allowed: bool,
}

/// The rights that an installation takes.
#[must_use]
pub fn wanted_rights() -> Vec<AccessRight> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    const ADMISSION: &str = "admissionregistration.k8s.io";
    let cluster = [
        ("", "namespaces"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        (RBAC, "clusterroles"),
        (RBAC, "clusterrolebindings"),
        (ADMISSION, "validatingadmissionpolicies"),
        (ADMISSION, "validatingadmissionpolicybindings"),
    ];
    let namespaced = [
        ("", "serviceaccounts"),
        ("", "configmaps"),
        ("apps", "deployments"),
        ("apps", "daemonsets"),
        ("policy", "poddisruptionbudgets"),
        (RBAC, "roles"),
        (RBAC, "rolebindings"),
    ];
    let create = |is_namespaced| {
        move |(group, resource)| AccessRight {
            verb: "create",
            group,
            resource,
            is_namespaced,
        }
    };
    // The roles hold rights that their creator may lack, and RBAC forbids an account to grant rights that it lacks.
    let escalate = AccessRight {
        verb: "escalate",
        group: RBAC,
        resource: "clusterroles",
        is_namespaced: false,
    };
    let cluster = cluster.into_iter().map(create(false));
    let namespaced = namespaced.into_iter().map(create(true));
    cluster.chain(namespaced).chain([escalate]).collect()
}
