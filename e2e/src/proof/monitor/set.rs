//! The second counter: a dynamic nft set in the LAN's bridge family.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::lab::Lab;
use crate::lab::LabError;
use crate::lab::sandbox::command;
use crate::lab::topology::OUTSIDERS;

/// Elements that one set can hold; `update` does nothing in a full set, so a full one is an error.
const SIZE: usize = 262_144;

/// The key of the counting set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetKey {
    /// The node's port on the LAN.
    pub node: String,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
}

/// The ruleset that counts from the lab's start, never emptied: every packet of everybody but of those who are no
/// nodes. What of it is inside the cluster, the judge says alone.
#[must_use]
pub fn counting_set() -> String {
    let set = |family: &str| {
        format!(
            "type ifname . {family} . {family} . inet_proto; flags dynamic; size {SIZE}; counter;"
        )
    };
    let outsiders = OUTSIDERS.map(|name| format!("\"{name}\"")).join(", ");
    format!(
        "table bridge lab {{
 set sent4 {{ {} }}
 set sent6 {{ {} }}
 chain prerouting {{ type filter hook prerouting priority -300;
  iifname {{ {outsiders} }} accept
  meta protocol ip update @sent4 {{ iifname . ip saddr . ip daddr . meta l4proto }}
  meta protocol ip6 update @sent6 {{ iifname . ip6 saddr . ip6 daddr . meta l4proto }}
 }}\n}}\n",
        set("ipv4_addr"),
        set("ipv6_addr")
    )
}

/// The current counts.
///
/// # Errors
/// When nft cannot be asked, its answer is not understood, or a set is full.
pub fn read_set(lab: &Lab) -> Result<BTreeMap<SetKey, u64>, LabError> {
    let mut counts = BTreeMap::new();
    for name in ["sent4", "sent6"] {
        let mut nft = lab.namespace("lan").command("nft");
        let text = command::run(nft.args(["-j", "-n", "list", "set", "bridge", "lab", name]))?;
        let what = || format!("nft's listing of the set {name}");
        let listing: Value = serde_json::from_str(&text).map_err(LabError::json(what()))?;
        let objects = listing.get("nftables").and_then(Value::as_array);
        let set = objects
            .into_iter()
            .flatten()
            .find_map(|object| object.get("set"));
        let elements = set
            .and_then(|set| set.get("elem"))
            .and_then(Value::as_array);
        let elements: Vec<&Value> = elements.into_iter().flatten().collect();
        for element in &elements {
            let (key, packets) = parse(element).ok_or_else(|| LabError::Invalid {
                what: "element of the counting set",
                value: element.to_string(),
                why: "it should be a concatenation of port, addresses and protocol with a counter"
                    .to_owned(),
            })?;
            counts.insert(key, packets);
        }
        if elements.len() >= SIZE {
            let why = "it is full and no longer counts new senders".to_owned();
            return Err(LabError::Invalid {
                what: "counting set",
                value: name.to_owned(),
                why,
            });
        }
    }
    Ok(counts)
}

fn parse(element: &Value) -> Option<(SetKey, u64)> {
    let element = element.get("elem")?;
    let packets = element.pointer("/counter/packets")?.as_u64()?;
    let parts = element.pointer("/val/concat")?.as_array()?;
    let [node, source, destination, protocol] = parts.as_slice() else {
        return None;
    };
    let protocol = match protocol {
        Value::Number(number) => u8::try_from(number.as_u64()?).ok()?,
        Value::String(name) => protocol_number(name)?,
        _ => return None,
    };
    let key = SetKey {
        node: node.as_str()?.to_owned(),
        source: source.as_str()?.parse().ok()?,
        destination: destination.as_str()?.parse().ok()?,
        protocol,
    };
    Some((key, packets))
}

/// Names that nft prints although it was asked for numbers.
fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "icmp" => Some(1),
        "igmp" => Some(2),
        "ipencap" | "ipip" => Some(4),
        "tcp" => Some(6),
        "udp" => Some(17),
        "ipv6" => Some(41),
        "gre" => Some(47),
        "esp" => Some(50),
        "ah" => Some(51),
        "icmpv6" | "ipv6-icmp" => Some(58),
        "sctp" => Some(132),
        other => other.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    /// As printed by `nft -j -n list set bridge lab sent4` of nftables 1.0.6.
    #[test]
    fn an_element_is_read_with_names_or_numbers_of_protocols() {
        for protocol in [json!("udp"), json!(17), json!("17")] {
            let element = json!({"elem": {
                "val": {"concat": ["n1", "192.168.10.11", "203.0.113.1", protocol]},
                "counter": {"packets": 5, "bytes": 100},
            }});
            let (key, packets) = parse(&element).unwrap();
            assert_eq!((key.node.as_str(), key.protocol, packets), ("n1", 17, 5));
        }
    }
}
