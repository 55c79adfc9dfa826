//! kube-proxy, built from its Go module: one process in each node's network namespace, in nftables mode.
//!
//! It is a client of the API server like any other, through front. A lab whose ready programs lack it, or the controller
//! that finds the endpoints of a selector, translates Services by the tables of `lab::services` instead.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Tools;
use crate::cluster::kubeconfig::write_kubeconfig;
use crate::cluster::operators::AGAIN;
use crate::lab::sandbox::command;
use crate::lab::topology::{self, Node};
use crate::lab::{Cluster, Lab, LabError, LabState, Service, wait_until};

/// The program, and the user name that the API server's own roles know it by.
const PROGRAM: &str = "kube-proxy";
pub(super) const USER: &str = "system:kube-proxy";

/// How long kube-proxy may take from its start, or from a change of an object, to the last node's rules.
const TRANSLATION_DEADLINE: Duration = Duration::from_secs(60);

/// The name of a node's process.
fn proxy_name(node: &str) -> String {
    format!("{PROGRAM}-{node}")
}

impl Lab {
    /// Whether kube-proxy itself translates the Services of this lab.
    pub(crate) fn has_kube_proxy(&self, cluster: Cluster) -> Result<bool, LabError> {
        if cluster == Cluster::Standalone {
            return Ok(false);
        }
        let tools = Tools::of(self)?;
        Ok(tools.has(PROGRAM) && tools.has("kube-controller-manager"))
    }

    /// Starts kube-proxy on every node where it does not run or has lost its tables, and waits until the Services that
    /// the lab made are translated on every node.
    ///
    /// kube-proxy writes its tables anew only when it starts, or half a minute after somebody took them, so a flush is
    /// followed by a start.
    ///
    /// # Errors
    /// When a program does not start, or `Timeout`.
    pub(crate) fn translate_by_kube_proxy(&self, state: &LabState) -> Result<(), LabError> {
        for node in &state.nodes {
            let name = proxy_name(&node.name);
            // The first tables of one that has just started are not there yet either; nobody asks for it twice by then.
            if self.runs(&name)? && self.translations(node, FAMILIES[0]).is_none() {
                self.kill(&name)?;
            }
            self.start_proxy(node)?;
        }
        for node in &state.nodes {
            self.await_translation(node, "every Service", |both| {
                let fits = |service: &Service| of_family(both, service).have(service);
                state.services.iter().all(fits)
            })?;
        }
        Ok(())
    }

    /// Waits until no node translates a Service any longer.
    ///
    /// # Errors
    /// `Timeout`.
    pub(crate) fn await_untranslated(&self, service: &Service) -> Result<(), LabError> {
        for node in &self.state()?.nodes {
            let what = format!("no Service {}", service.name);
            self.await_translation(node, &what, |both| !of_family(both, service).have(service))?;
        }
        Ok(())
    }

    fn await_translation(
        &self,
        node: &Node,
        what: &str,
        fits: impl Fn(&[Translations; 2]) -> bool,
    ) -> Result<(), LabError> {
        let what = format!("{what} in the tables of kube-proxy on {}", node.name);
        let found = wait_until(TRANSLATION_DEADLINE, &what, || {
            let [four, six] = FAMILIES.map(|family| self.translations(node, family));
            let both = four.zip(six).map(|(four, six)| [four, six]);
            Ok(both.filter(|both| fits(both)).map(drop))
        });
        found.map_err(|error| match error {
            LabError::Timeout { what, seconds, .. } => LabError::Timeout {
                what,
                seconds,
                detail: format!("; its log: {}", self.log_tail(&proxy_name(&node.name), 3)),
            },
            other => other,
        })
    }

    /// What kube-proxy translates on a node in one family; nothing without its table.
    fn translations(&self, node: &Node, family: &str) -> Option<Translations> {
        let mut list = self.node_namespace(&node.name).command("nft");
        let text = command::run(list.args(["--json", "list", "maps", family])).ok()?;
        Translations::of(&serde_json::from_str(&text).ok()?)
    }

    fn start_proxy(&self, node: &Node) -> Result<(), LabError> {
        let name = proxy_name(&node.name);
        let dir = self.plane_dir();
        let kubeconfig = dir.join(format!("{PROGRAM}.kubeconfig"));
        let ranges =
            topology::pair(topology::PODS4, topology::PODS6).map(|range| range.to_string());
        let untouched = json!({"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"});
        let settings = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": node.name,
            "clientConnection": {"kubeconfig": kubeconfig},
            "detectLocalMode": "ClusterCIDR",
            "clusterCIDR": ranges.join(","),
            // The limits of connection tracking are the machine's, not the lab's to set.
            "conntrack": untouched,
            "oomScoreAdj": 0,
            // A case that makes a Service need not wait for the second in which kube-proxy collects changes.
            "nftables": {"minSyncPeriod": "1ms"},
        });
        let path = dir.join(format!("{name}.yaml"));
        self.write_atomically(&path, settings.to_string().as_bytes())?;
        let mut command: Vec<OsString> = ["sh", "-c", AGAIN, PROGRAM].map(OsString::from).into();
        command.push(Tools::of(self)?.program(PROGRAM)?.into());
        let mut flag = OsString::from("--config=");
        flag.push(path);
        command.push(flag);
        self.start(&name, &self.node_namespace(&node.name), command)
    }

    /// The kubeconfig of all kube-proxies: they are one user, as in a cluster of kubeadm.
    pub(super) fn write_proxy_kubeconfig(&self, token: &str) -> Result<(), LabError> {
        let path = self.plane_dir().join(format!("{PROGRAM}.kubeconfig"));
        write_kubeconfig(self, &path, PROGRAM, token)
    }
}

fn of_family<'a>([four, six]: &'a [Translations; 2], service: &Service) -> &'a Translations {
    if service.to_address.is_ipv4() {
        four
    } else {
        six
    }
}

/// The families of nft that kube-proxy has a table in.
const FAMILIES: [&str; 2] = ["ip", "ip6"];

/// The keys of kube-proxy's maps in one family, each with its map's name: an address, a protocol and a port, or a
/// protocol and a node port.
#[derive(Debug)]
struct Translations(Vec<(String, Value)>);

impl Translations {
    /// Reads the list of maps that nft prints as JSON; nothing when none is kube-proxy's.
    fn of(list: &Value) -> Option<Self> {
        let objects = list.pointer("/nftables")?.as_array()?;
        let maps = objects.iter().filter_map(|object| object.get("map"));
        let own: Vec<&Value> = maps.filter(|map| map["table"] == PROGRAM).collect();
        if own.is_empty() {
            return None;
        }
        let keys = own.into_iter().flat_map(|map| {
            let name = map["name"].as_str().unwrap_or_default();
            let elements = map["elem"].as_array().into_iter().flatten();
            // An element is a key and a verdict; the key of one with a comment is one level deeper.
            elements.filter_map(move |element| {
                let key = &element[0];
                let key = key.pointer("/elem/val").unwrap_or(key);
                Some((name.to_owned(), key.get("concat")?.clone()))
            })
        });
        Some(Self(keys.collect()))
    }

    /// Whether a service address leads to an endpoint, or a node port somewhere, be it to none of this node.
    fn have(&self, service: &Service) -> bool {
        let port = service.port;
        self.0.iter().any(|(map, key)| match service.cluster_ip {
            Some(address) => map == "service-ips" && *key == json!([address, "tcp", port]),
            None => *key == json!(["tcp", port]),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Translations;
    use crate::lab::{Service, TrafficPolicy};

    #[test]
    fn the_maps_of_kube_proxy_are_read_and_those_of_others_are_not() {
        let list = |table: &str| {
            json!({"nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"map": {"family": "ip", "table": table, "name": "service-ips", "elem": [
                    [{"concat": ["10.96.0.10", "tcp", 80]}, {"goto": {"target": "service-a"}}],
                ]}},
                {"map": {"family": "ip", "table": table, "name": "service-nodeports", "elem": [
                    [{"elem": {"val": {"concat": ["tcp", 30080]}, "comment": "b"}}, {"goto": {"target": "external-b"}}],
                ]}},
                {"map": {"family": "ip", "table": table, "name": "no-endpoint-services"}},
            ]})
        };
        assert!(Translations::of(&list("other")).is_none());
        let found = Translations::of(&list("kube-proxy")).unwrap();
        let service = |address: Option<&str>, port| Service {
            name: "web".to_owned(),
            cluster_ip: address.map(|address| address.parse().unwrap()),
            port,
            to_address: "10.244.1.2".parse().unwrap(),
            to_port: 7,
            policy: TrafficPolicy::Cluster,
        };
        assert!(found.have(&service(Some("10.96.0.10"), 80)));
        assert!(found.have(&service(None, 30080)));
        assert!(!found.have(&service(Some("10.96.0.11"), 80)));
        assert!(!found.have(&service(None, 80)));
    }
}
