//! What the plugin before this one made.

use std::net::IpAddr;

use serde::Deserialize;

/// Names that container network plugins give to the host's end of a pod's interface.
const HOST_PREFIXES: [&str; 3] = ["veth", "cali", "lxc"];

/// The pod's interface, as far as a previous result tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The pod's addresses, in the order of the result.
    pub addresses: Vec<IpAddr>,
    pub host_interface: Option<String>,
    /// The MAC address of the pod's end.
    pub mac: Option<String>,
}

/// Why a previous result is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PreviousError {
    /// It is not a result of the versions that are supported.
    #[error("the previous result cannot be decoded")]
    Decode {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// An address that is not one.
    #[error("the previous result has the address {text:?}")]
    Address {
        /// As it stands there.
        text: String,
    },
    /// There is nothing to bind.
    #[error("the previous result gives the pod no address")]
    NoAddress,
}

#[derive(Deserialize)]
struct PreviousResult {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    ips: Vec<Ip>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    sandbox: String,
}

/// `version` of 0.3 and 0.4 is not read: the address says its family itself.
#[derive(Deserialize)]
struct Ip {
    address: String,
    #[serde(default)]
    interface: Option<usize>,
}

impl Interface {
    fn is_in_pod(&self) -> bool {
        !self.sandbox.is_empty()
    }
}

impl Attached {
    /// Reads a previous result; `is_bridge` tells a bridge of the host from a pod's interface.
    ///
    /// # Errors
    /// [`PreviousError`].
    pub fn read(
        result: &str,
        ifname: &str,
        is_bridge: impl Fn(&str) -> bool,
    ) -> Result<Self, PreviousError> {
        let document: PreviousResult =
            serde_json::from_str(result).map_err(|source| PreviousError::Decode { source })?;
        Ok(Self {
            addresses: addresses(&document)?,
            host_interface: host_interface(&document.interfaces, is_bridge),
            mac: mac(&document.interfaces, ifname),
        })
    }
}

/// The addresses of the pod: those on its interfaces, and those on no named interface (Calico
/// names none).
fn addresses(document: &PreviousResult) -> Result<Vec<IpAddr>, PreviousError> {
    let in_pod = |ip: &&Ip| match ip.interface.and_then(|at| document.interfaces.get(at)) {
        Some(interface) => interface.is_in_pod(),
        None => true,
    };
    let found: Result<Vec<_>, _> = document.ips.iter().filter(in_pod).map(address).collect();
    match found {
        Ok(addresses) if addresses.is_empty() => Err(PreviousError::NoAddress),
        found => found,
    }
}

/// The address without its prefix length: `10.244.1.7/24` is the pod's address in its subnet.
fn address(ip: &Ip) -> Result<IpAddr, PreviousError> {
    let text = ip.address.split('/').next().unwrap_or_default();
    text.parse().map_err(|_| PreviousError::Address {
        text: ip.address.clone(),
    })
}

fn host_interface(interfaces: &[Interface], is_bridge: impl Fn(&str) -> bool) -> Option<String> {
    let on_host: Vec<&str> = interfaces
        .iter()
        .filter(|interface| !interface.is_in_pod())
        .map(|interface| interface.name.as_str())
        .collect();
    let by_name = on_host
        .iter()
        .find(|name| HOST_PREFIXES.iter().any(|p| name.starts_with(p)));
    if let Some(name) = by_name {
        return Some((*name).to_owned());
    }
    let mut others = on_host.into_iter().filter(|name| !is_bridge(name));
    match (others.next(), others.next()) {
        (Some(only), None) => Some(only.to_owned()),
        _ => None,
    }
}

fn mac(interfaces: &[Interface], ifname: &str) -> Option<String> {
    let mut in_pod = interfaces.iter().filter(|i| i.is_in_pod());
    let wanted = in_pod
        .clone()
        .find(|interface| interface.name == ifname)
        .or_else(|| in_pod.next())?;
    (!wanted.mac.is_empty()).then(|| wanted.mac.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: &str) -> Result<Attached, PreviousError> {
        Attached::read(result, "eth0", |name| name == "cni0")
    }

    fn attached(addresses: &[&str], host: Option<&str>, mac: Option<&str>) -> Attached {
        Attached {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            host_interface: host.map(str::to_owned),
            mac: mac.map(str::to_owned),
        }
    }

    #[test]
    fn a_bridge_result_of_two_families_names_veth_and_mac() {
        let result = r#"{"cniVersion":"1.0.0","interfaces":[
            {"name":"cni0","mac":"aa:aa:aa:aa:aa:aa"},
            {"name":"veth1234","mac":"bb:bb:bb:bb:bb:bb"},
            {"name":"eth0","mac":"CC:CC:CC:CC:CC:CC","sandbox":"/var/run/netns/x"}],
            "ips":[{"address":"10.244.1.7/24","gateway":"10.244.1.1","interface":2},
                   {"address":"fd00:10:244:1::7/64","interface":2}],"dns":{}}"#;
        let want = attached(
            &["10.244.1.7", "fd00:10:244:1::7"],
            Some("veth1234"),
            Some("cc:cc:cc:cc:cc:cc"),
        );
        assert_eq!(read(result).unwrap(), want);
    }

    #[test]
    fn an_older_result_has_the_family_beside_the_address() {
        let result = r#"{"cniVersion":"0.3.1","interfaces":[{"name":"cni0"},{"name":"hostif"},
            {"name":"eth0","mac":"cc:cc:cc:cc:cc:cc","sandbox":"/proc/1/ns/net"}],
            "ips":[{"version":"4","address":"10.244.1.7/24","interface":2}]}"#;
        let want = attached(&["10.244.1.7"], Some("hostif"), Some("cc:cc:cc:cc:cc:cc"));
        assert_eq!(read(result).unwrap(), want);
    }

    #[test]
    fn a_result_without_the_pods_interface_still_gives_addresses() {
        let result = r#"{"cniVersion":"0.4.0","interfaces":[{"name":"cali1a2b"}],
            "ips":[{"version":"4","address":"10.1.2.3/32"}]}"#;
        assert_eq!(
            read(result).unwrap(),
            attached(&["10.1.2.3"], Some("cali1a2b"), None)
        );
    }

    #[test]
    fn an_address_of_a_host_interface_is_not_the_pods() {
        let result = r#"{"interfaces":[{"name":"cni0"},{"name":"eth0","sandbox":"/n"}],
            "ips":[{"address":"10.244.1.1/24","interface":0}]}"#;
        assert!(matches!(read(result), Err(PreviousError::NoAddress)));
    }

    #[test]
    fn two_candidates_for_the_hosts_end_are_none() {
        let result = r#"{"interfaces":[{"name":"a"},{"name":"b"},{"name":"eth0","sandbox":"/n"}],
            "ips":[{"address":"10.244.1.7/24","interface":2}]}"#;
        assert_eq!(read(result).unwrap().host_interface, None);
    }

    #[test]
    fn an_address_that_is_none_is_named_in_the_reason() {
        let result = r#"{"ips":[{"address":"10.244.1/24"}]}"#;
        assert!(
            matches!(read(result), Err(PreviousError::Address { text }) if text == "10.244.1/24")
        );
    }
}
