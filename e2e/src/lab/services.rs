//! Services and node ports of a lab, and the tables that translate them on a node without kube-proxy.

use std::fmt::Write;
use std::net::IpAddr;

use crate::cluster::service_object;
use crate::lab::LabError;
use crate::lab::topology::Node;
use crate::lab::{Lab, LabState, Service, TrafficPolicy};

/// kube-proxy's masquerade mark.
const MASQUERADE_MARK: &str = "0x4000";

impl Lab {
    /// Makes a service (with a service address) or a node port (without one) and translates it on every node. With an
    /// API server its objects are made too.
    ///
    /// # Errors
    /// When families differ, the name is taken, or nft or the API server refuses.
    pub fn create_service(
        &self,
        name: &str,
        cluster_ip: Option<IpAddr>,
        port: u16,
        to: (IpAddr, u16),
        policy: TrafficPolicy,
    ) -> Result<(), LabError> {
        let wrong = |why: &str| LabError::Invalid {
            what: "service",
            value: name.to_owned(),
            why: why.to_owned(),
        };
        if cluster_ip.is_some_and(|address| address.is_ipv4() != to.0.is_ipv4()) {
            return Err(wrong("service address and endpoint must be of one family"));
        }
        let service = Service {
            name: name.to_owned(),
            cluster_ip,
            port,
            to_address: to.0,
            to_port: to.1,
            policy,
        };
        if self.on_api_server()? {
            self.create_service_objects(&service)?;
        } else {
            self.apply(vec![service_object(&service)])?;
        }
        self.add_service(service)
    }

    /// Remembers a service and translates it on every node.
    pub(crate) fn add_service(&self, service: Service) -> Result<(), LabError> {
        self.update(|state| {
            if state
                .services
                .iter()
                .any(|other| other.name == service.name)
            {
                return Err(LabError::Invalid {
                    what: "service",
                    value: service.name,
                    why: "there is one of that name".to_owned(),
                });
            }
            state.services.push(service);
            Ok(())
        })?;
        self.translate_services()
    }

    /// Removes a service or node port.
    ///
    /// # Errors
    /// When there is none of that name, or nft refuses.
    pub fn delete_service(&self, name: &str) -> Result<(), LabError> {
        let service = self.service(name)?;
        if self.on_api_server()? {
            self.delete_service_objects(name)?;
        } else if let Some(service) = &service {
            self.delete(&[service_object(service)])?;
        }
        self.update(|state| {
            let before = state.services.len();
            state.services.retain(|service| service.name != name);
            if state.services.len() < before {
                return Ok(());
            }
            let why = "there is none of that name".to_owned();
            Err(LabError::Invalid {
                what: "service",
                value: name.to_owned(),
                why,
            })
        })?;
        self.translate_services()?;
        let proxied = self.has_kube_proxy(self.state()?.options.cluster)?;
        service
            .filter(|_| proxied)
            .map_or(Ok(()), |service| self.await_untranslated(&service))
    }

    fn service(&self, name: &str) -> Result<Option<Service>, LabError> {
        let services = self.state()?.services;
        Ok(services.into_iter().find(|service| service.name == name))
    }

    /// Sees to it that every node translates all services: kube-proxy does, or, in a lab without one, tables that are
    /// written here as its own would be. Also after a test has flushed a node's ruleset.
    ///
    /// # Errors
    /// When nft refuses, or `Timeout` while kube-proxy has not translated them all.
    pub fn translate_services(&self) -> Result<(), LabError> {
        let state = self.state()?;
        if self.has_kube_proxy(state.options.cluster)? {
            return self.translate_by_kube_proxy(&state);
        }
        for node in &state.nodes {
            self.node_namespace(&node.name)
                .nft(&ruleset(&state, node))?;
        }
        Ok(())
    }

    /// Puts back the masquerade rule that the CNI's `ipMasq` made on a node, after its ruleset was flushed: a
    /// released pod could not reach the world without it.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn restore_masquerade(&self, node: &str) -> Result<(), LabError> {
        let node = self.node(node)?;
        let (four, six) = (node.pods4(), node.pods6());
        self.node_namespace(&node.name).nft(&format!(
            "table inet cni-masquerade\ndelete table inet cni-masquerade\ntable inet cni-masquerade {{
 chain postrouting {{ type nat hook postrouting priority 100;
  ip saddr {four} ip daddr != {{ {four}, 224.0.0.0/4 }} masquerade
  ip6 saddr {six} ip6 daddr != {{ {six}, ff00::/8 }} masquerade
 }}\n}}\n"
        ))
    }
}

fn ruleset(state: &LabState, node: &Node) -> String {
    ["ip", "ip6"]
        .iter()
        .map(|family| table(family, state, node))
        .collect()
}

fn table(family: &str, state: &LabState, node: &Node) -> String {
    let six = family == "ip6";
    let own = node.addresses()[usize::from(six)];
    let address_type = if six { "ipv6_addr" } else { "ipv4_addr" };
    let services: Vec<&Service> = state
        .services
        .iter()
        .filter(|service| service.to_address.is_ipv6() == six)
        .collect();
    let mut chains = String::new();
    let (mut by_address, mut by_port) = (String::new(), String::new());
    for (index, service) in services.iter().enumerate() {
        chains.push_str(&endpoint_chains(family, index, service));
        for protocol in ["tcp", "udp"] {
            let port = service.port;
            // Writing to a string cannot fail.
            let _ = match service.cluster_ip {
                Some(address) => write!(
                    by_address,
                    "{address} . {protocol} . {port} : goto endpoint-{index}, "
                ),
                None => write!(by_port, "{protocol} . {port} : goto external-{index}, "),
            };
        }
    }
    format!(
        "table {family} kube-proxy\ndelete table {family} kube-proxy\ntable {family} kube-proxy {{
 chain mark-for-masquerade {{ meta mark set meta mark | {MASQUERADE_MARK}; }}
{chains} map service-ips {{ type {address_type} . inet_proto . inet_service : verdict;{} }}
 map service-nodeports {{ type inet_proto . inet_service : verdict;{} }}
 chain services {{
  {family} daddr . meta l4proto . th dport vmap @service-ips
  {family} daddr {own} meta l4proto . th dport vmap @service-nodeports
 }}
 chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
 chain nat-output {{ type nat hook output priority -100; jump services; }}
 chain masquerading {{ meta mark & {MASQUERADE_MARK} == 0 return; meta mark set meta mark ^ {MASQUERADE_MARK}; masquerade fully-random; }}
 chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}\n}}\n",
        elements(&by_address),
        elements(&by_port)
    )
}

/// An endpoint that reaches itself by its service is masqueraded, else it would answer itself directly.
fn endpoint_chains(family: &str, index: usize, service: &Service) -> String {
    let address = service.to_address;
    let to = std::net::SocketAddr::new(address, service.to_port);
    let external = match service.policy {
        TrafficPolicy::Cluster => format!("jump mark-for-masquerade; goto endpoint-{index};"),
        TrafficPolicy::Local => format!("goto endpoint-{index};"),
    };
    format!(
        " chain endpoint-{index} {{ {family} saddr {address} jump mark-for-masquerade; \
         meta l4proto {{ tcp, udp }} dnat to {to}; }}\n chain external-{index} {{ {external} }}\n"
    )
}

fn elements(list: &str) -> String {
    if list.is_empty() {
        String::new()
    } else {
        format!(" elements = {{ {list} }}")
    }
}

/// The names that the resolver pod serves, for the cluster's domain.
pub(crate) fn service_names(state: &LabState) -> Vec<(String, IpAddr)> {
    let named = state.services.iter().filter_map(|service| {
        let (namespace, name) = match service.name.as_str() {
            "kube-dns" | "kube-dns6" => ("kube-system", "kube-dns"),
            name => ("default", name),
        };
        Some((
            format!("{name}.{namespace}.svc.cluster.local"),
            service.cluster_ip?,
        ))
    });
    named.collect()
}
