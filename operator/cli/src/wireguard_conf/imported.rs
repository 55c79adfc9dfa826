//! What a file becomes, and what of it cannot be honoured.

use std::collections::BTreeMap;

use ipnet::IpNet;
use postern_crds::names::{API_VERSION, SYSTEM_NAMESPACE};
use postern_intent::WgKey;
use postern_intent::credential::SecretBytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::read::{ConfError, ConfSection, SectionKind, sections};

/// The names that a file does not have.
#[derive(Debug, Clone)]
pub struct ImportNames {
    /// Of the ExitNode and of the Secret.
    pub exit: String,
    /// Labels of the nodes that may have the session.
    pub gateway_labels: BTreeMap<String, String>,
}

/// An exit and its credential as manifests.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportedExit {
    pub exit: Value,
    /// It holds the private key.
    pub secret: Value,
    /// Settings of the file that cannot be honoured, each with what to do instead.
    pub not_honoured: Vec<String>,
}

/// MTUs that an ExitNode takes.
const MTU: std::ops::RangeInclusive<u32> = 1280..=9000;

/// Settings of [Interface] that have no place in an ExitNode.
const INTERFACE: [(&str, &str); 10] = [
    (
        "DNS",
        "names are asked of the resolvers of each policy; write them as spec.dns.upstreams of the EgressPolicy",
    ),
    (
        "Table",
        "the exit has a routing table of its own, which only selected pods use",
    ),
    ("PreUp", "no command of a file is run on a node"),
    ("PostUp", "no command of a file is run on a node"),
    ("PreDown", "no command of a file is run on a node"),
    ("PostDown", "no command of a file is run on a node"),
    ("SaveConfig", "the cluster's objects are the configuration"),
    ("FwMark", "marks are numbered on each node"),
    (
        "ListenPort",
        "the node that has the session is its client, and the kernel chooses its port",
    ),
    (
        "Jc",
        "obfuscation of AmneziaWG is not supported; ask the provider for a server of plain WireGuard",
    ),
];

/// Settings that are honoured.
const HONOURED: [&str; 7] = [
    "PrivateKey",
    "Address",
    "MTU",
    "PublicKey",
    "PresharedKey",
    "Endpoint",
    "AllowedIPs",
];

/// Imports a file.
///
/// # Errors
/// [`ConfError`]: without these settings there is no exit.
pub fn import(text: &str, names: &ImportNames) -> Result<ImportedExit, ConfError> {
    let sections = sections(text)?;
    let interface = only(&sections, SectionKind::Interface, "Interface")?;
    let peer = only(&sections, SectionKind::Peer, "Peer")?;
    let mut not_honoured = unused(interface, "Interface");
    not_honoured.extend(unused(peer, "Peer"));
    not_honoured.extend(others(&sections));
    let endpoint = required(peer, "Peer", "Endpoint")?;
    let server = required(peer, "Peer", "PublicKey")?;
    let _: WgKey = server.parse().map_err(|_| ConfError::Value {
        setting: "PublicKey",
        wanted: "the base64 of a public key",
    })?;
    let selector = json!({"matchLabels": names.gateway_labels});
    let mut spec = json!({"external": {
        "endpoint": endpoint,
        "publicKey": server,
        "addresses": addresses(interface)?,
        "credentialsSecretRef": {"name": names.exit},
        "gatewayNodeSelector": selector,
    }});
    if let Some(routes) = routes(peer)? {
        spec["routes"] = routes.into();
    }
    match interface.value("MTU").map(str::parse::<u32>) {
        None => {}
        Some(Ok(mtu)) if MTU.contains(&mtu) => spec["mtu"] = mtu.into(),
        Some(_) => not_honoured.push("[Interface] MTU: an exit takes 1280 to 9000".to_owned()),
    }
    Ok(ImportedExit {
        exit: json!({
            "apiVersion": API_VERSION, "kind": "ExitNode",
            "metadata": {"name": names.exit}, "spec": spec,
        }),
        secret: json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"namespace": SYSTEM_NAMESPACE, "name": names.exit},
            "stringData": keys(interface, peer)?,
        }),
        not_honoured,
    })
}

/// The first section of a kind.
fn only<'a>(
    sections: &'a [ConfSection],
    kind: SectionKind,
    section: &'static str,
) -> Result<&'a ConfSection, ConfError> {
    let setting = match kind {
        SectionKind::Interface => "PrivateKey",
        SectionKind::Peer => "PublicKey",
    };
    let mut found = sections.iter().filter(|one| one.kind == kind);
    found.next().ok_or(ConfError::Missing { section, setting })
}

fn required<'a>(
    found: &'a ConfSection,
    section: &'static str,
    setting: &'static str,
) -> Result<&'a str, ConfError> {
    let value = found.value(setting);
    value.ok_or(ConfError::Missing { section, setting })
}

/// Sections behind the first one of each kind.
fn others(sections: &[ConfSection]) -> impl Iterator<Item = String> {
    let peers = sections.iter().filter(|one| one.kind == SectionKind::Peer);
    let peers = peers.enumerate().skip(1).map(|(place, peer)| {
        let endpoint = peer.value("Endpoint").unwrap_or("none");
        format!(
            "[Peer] {} with the endpoint {endpoint}: an exit has one server; import it as an exit of its own",
            place + 1
        )
    });
    let interfaces = sections.iter();
    let interfaces = interfaces.filter(|one| one.kind == SectionKind::Interface);
    let again = interfaces
        .skip(1)
        .map(|_| "a second [Interface]: an exit has one device".to_owned());
    peers.chain(again)
}

fn unused(section: &ConfSection, name: &str) -> Vec<String> {
    let names = section.names().into_iter();
    let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    names
        .filter(|setting| !HONOURED.iter().any(|known| is(known, setting)))
        .map(|setting| {
            let known = INTERFACE.iter().find(|(known, _)| is(known, setting));
            let why = match known {
                Some((_, why)) => why,
                None if is(setting, "PersistentKeepalive") => {
                    "every tunnel has the keepalive of the operator's settings, tunnels.keepaliveSeconds"
                }
                None => "wg-quick(8) does not know it",
            };
            format!("[{name}] {setting}: {why}")
        })
        .collect()
}

fn addresses(interface: &ConfSection) -> Result<Vec<String>, ConfError> {
    let wrong = ConfError::Value {
        setting: "Address",
        wanted: "a list of addresses such as 10.64.0.2/32",
    };
    let values = interface.values("Address").map(|text| {
        let with_length = text.parse::<IpNet>();
        let net = with_length.or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        net.map(|net| net.to_string()).map_err(|_| wrong.clone())
    });
    let addresses: Vec<String> = values.collect::<Result<_, _>>()?;
    match addresses.is_empty() {
        true => Err(ConfError::Missing {
            section: "Interface",
            setting: "Address",
        }),
        false => Ok(addresses),
    }
}

/// What the peer may receive; none: everything, as an exit offers without routes.
fn routes(peer: &ConfSection) -> Result<Option<Vec<String>>, ConfError> {
    let mut routes = Vec::new();
    for text in peer.values("AllowedIPs") {
        let with_length = text.parse::<IpNet>();
        let net = with_length.or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        let net = net.map_err(|_| ConfError::Value {
            setting: "AllowedIPs",
            wanted: "a list of ranges such as 0.0.0.0/0",
        })?;
        let route = net.trunc().to_string();
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    let is_all = ["0.0.0.0/0", "::/0"]
        .iter()
        .all(|all| routes.iter().any(|one| one == all));
    Ok((!routes.is_empty() && !is_all).then_some(routes))
}

fn keys(interface: &ConfSection, peer: &ConfSection) -> Result<Value, ConfError> {
    let key = |setting: &'static str, text: &str| match SecretBytes::from_base64(setting, text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(ConfError::Value {
            setting,
            wanted: "the base64 of a key",
        }),
    };
    let private = required(interface, "Interface", "PrivateKey")?;
    let mut keys = json!({"privateKey": key("PrivateKey", private)?});
    if let Some(preshared) = peer.value("PresharedKey") {
        keys["presharedKey"] = key("PresharedKey", preshared)?.into();
    }
    Ok(keys)
}
