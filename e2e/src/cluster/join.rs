//! The place where `up` turns here: what a lab with an API server starts, in order.

use crate::cluster::Tools;
use crate::lab::LabError;
use crate::lab::topology::{self, API_PORT};
use crate::lab::{Lab, LabState, Programs, Service, TrafficPolicy};

impl Lab {
    /// Starts the control plane and makes everything that a fresh cluster has: definitions, nodes, namespaces, and the
    /// process that makes pods; then operators and agents.
    pub(crate) fn start_on_api_server(
        &self,
        tools: &Tools,
        on_stage: &mut dyn FnMut(&str),
    ) -> Result<(), LabError> {
        self.start_plane(tools, on_stage)?;
        if self.on_kubelets()? {
            return self.join_kubelets(on_stage);
        }
        on_stage("applying the definitions and registering the nodes");
        self.apply_definitions()?;
        self.create_nodes(&self.state()?.nodes)?;
        self.create_api_service()?;
        for namespace in ["default", "kube-system"] {
            self.ensure_api_namespace(namespace)?;
        }
        self.start_kubelet()?;
        let state = self.state()?;
        if state.options.programs == Programs::Postern {
            on_stage("starting operators, agents and tunnel processes");
            start_programs_on_cluster(self, &state)?;
        }
        Ok(())
    }

    /// The cluster of an administrator who has installed nothing yet: nodes that registered themselves, and a resolver.
    fn join_kubelets(&self, on_stage: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        self.start_nodes(on_stage)?;
        self.create_api_service()?;
        for namespace in ["default", "kube-system"] {
            self.ensure_api_namespace(namespace)?;
        }
        self.install_coredns()
    }

    fn create_api_service(&self) -> Result<(), LabError> {
        self.create_api_endpoint()?;
        self.add_service(Service {
            name: "kubernetes".to_owned(),
            cluster_ip: Some(topology::KUBERNETES4.into()),
            port: 443,
            to_address: topology::CONTROL4.into(),
            to_port: API_PORT,
            policy: TrafficPolicy::Cluster,
        })
    }
}

/// Starts operators, agents and tunnel processes as clients of the API server.
///
/// It is called when the definitions are established, the nodes are registered (their UIDs are in the state) and the
/// kubelet runs, and before the first pod with a network is made: from then on CNI ADD needs the agents.
///
/// # Errors
/// When a program does not start.
pub fn start_programs_on_cluster(lab: &Lab, state: &LabState) -> Result<(), LabError> {
    lab.start_postern_on_cluster(state)
}
