use std::net::{AddrParseError, SocketAddr};

use ipnet::IpNet;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::ExitNode;
use postern_crds::conditions::Reason;
use postern_crds::exit_node::{
    ExitNodeSpec, External, Failback, FromNamespaces, Gateway, LanAccess, Probe,
};
use postern_crds::honoured;
use postern_crds::names::{GATEWAY_ANNOTATION, OFF_ANNOTATION};
use postern_intent::body::{Access, ExitFailback, ExitProbe, ServerEndpoint};
use postern_intent::{Address, ExitName, IfName, Prefix};

use super::error::{IntakeError, Reader};
use super::invalid;
use crate::snapshot::{
    ExitNamespaces, ExitSwitch, ExitTerms, ExternalTerms, ParsedSelector, SelectedGateway,
    SnapshotExit, SpecRefusal,
};

/// Takes in an exit.
///
/// # Errors
/// [`IntakeError`] if it has no usable name. Everything else is a refusal in [`SnapshotExit::terms`].
pub fn exit(object: &ExitNode) -> Result<SnapshotExit, IntakeError> {
    let reader = Reader::new("ExitNode", &object.metadata);
    let unknown = honoured::not_implemented(object);
    let terms = if unknown.is_empty() {
        terms(&object.spec)
    } else {
        Err(SpecRefusal {
            reason: Reason::NotImplemented,
            message: honoured::message(&unknown),
        })
    };
    Ok(exit_of(reader.name()?, &object.metadata, terms))
}

/// An exit with these terms. Its annotations count whether its terms are accepted or not.
#[must_use]
pub fn exit_of(
    name: ExitName,
    metadata: &ObjectMeta,
    terms: Result<ExitTerms, SpecRefusal>,
) -> SnapshotExit {
    let annotations = metadata.annotations.as_ref();
    let annotation = |name| annotations.and_then(|all| all.get(name));
    SnapshotExit {
        name,
        generation: metadata.generation.unwrap_or_default(),
        selected: annotation(GATEWAY_ANNOTATION).and_then(|text| selected(text)),
        switch: match annotation(OFF_ANNOTATION).map(String::as_str) {
            Some("false") | None => ExitSwitch::On,
            // Every value but `false` switches the exit off, so that a misspelled value blocks and opens nothing.
            Some(_) => ExitSwitch::Off,
        },
        terms,
    }
}

/// An annotation that names no node chooses none. It is cut: a document must not grow with it.
fn selected(text: &str) -> Option<SelectedGateway> {
    const LONGEST: usize = 128;
    Some(SelectedGateway {
        node: text.split(' ').next()?.parse().ok()?,
        choice: text.chars().take(LONGEST).collect(),
    })
}

fn terms(spec: &ExitNodeSpec) -> Result<ExitTerms, SpecRefusal> {
    let way = way_out(spec)?;
    let routes: Vec<Prefix> = spec
        .routes
        .iter()
        .map(|text| prefix("spec.routes", text))
        .collect::<Result<_, _>>()?;
    let probe = match &spec.probe {
        Some(written) => probe(written, &routes)?,
        None => ExitTerms::default_probe(),
    };
    Ok(ExitTerms {
        gateways: way.gateways,
        uplink: way.uplink,
        egress: way.egress,
        external: way.external,
        routes,
        lan: lan(spec.lan_access),
        mtu: mtu(spec.mtu)?,
        probe,
        failback: match spec.failback {
            Failback::Manual => ExitFailback::Manual,
            Failback::Automatic => ExitFailback::Automatic,
        },
        allowed: allowed(spec)?,
    })
}

/// How its gateways leave.
struct WayOut {
    gateways: ParsedSelector,
    uplink: Option<IfName>,
    egress: Vec<Address>,
    external: Option<ExternalTerms>,
}

fn way_out(spec: &ExitNodeSpec) -> Result<WayOut, SpecRefusal> {
    match (&spec.gateway, &spec.external) {
        (Some(gateway), None) => Ok(WayOut {
            gateways: selector("spec.gateway.nodeSelector", &gateway.node_selector)?,
            uplink: uplink(gateway)?,
            egress: gateway
                .egress_ips
                .iter()
                .map(|text| address(text))
                .collect::<Result<_, _>>()?,
            external: None,
        }),
        (None, Some(external)) => {
            let field = "spec.external.gatewayNodeSelector";
            let gateways = selector(field, &external.gateway_node_selector)?;
            let external = external_terms(external)?;
            Ok(WayOut {
                gateways,
                uplink: None,
                egress: external.addresses.clone(),
                external: Some(external),
            })
        }
        (Some(_), Some(_)) | (None, None) => Err(invalid(
            "spec: exactly one of gateway and external is needed; write one of them",
        )),
    }
}

fn external_terms(external: &External) -> Result<ExternalTerms, SpecRefusal> {
    let addresses = external.addresses.iter().map(|text| {
        let parsed: Result<IpNet, _> = text.parse();
        parsed
            .map(|net| net.addr())
            .map_err(|_| invalid(format!("spec.external.addresses: {text:?} is no prefix")))
    });
    let addresses: Vec<Address> = addresses.collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(invalid(
            "spec.external.addresses: the server gave at least one address; write it",
        ));
    }
    let server_key = external.public_key.parse();
    Ok(ExternalTerms {
        endpoint: endpoint(&external.endpoint)?,
        server_key: server_key
            .map_err(|error| invalid(format!("spec.external.publicKey: {error}")))?,
        addresses,
        secret: external.credentials_secret_ref.name.clone(),
    })
}

fn endpoint(text: &str) -> Result<ServerEndpoint, SpecRefusal> {
    let refused = || invalid(format!("spec.external.endpoint: {text:?} is no host:port"));
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host).to_owned();
    match port.parse() {
        Ok(port) if port != 0 && !host.is_empty() => Ok(ServerEndpoint { host, port }),
        Ok(_) | Err(_) => Err(refused()),
    }
}

fn uplink(gateway: &Gateway) -> Result<Option<IfName>, SpecRefusal> {
    let parse = |name: &String| {
        name.parse()
            .map_err(|error| invalid(format!("spec.gateway.interface: {error}")))
    };
    gateway.interface.as_ref().map(parse).transpose()
}

fn mtu(mtu: Option<u32>) -> Result<Option<u16>, SpecRefusal> {
    // The smallest MTU of IPv6 (RFC 8200, section 5).
    let checked = |mtu: u32| u16::try_from(mtu).ok().filter(|mtu| *mtu >= 1280);
    mtu.map(|mtu| {
        checked(mtu).ok_or_else(|| invalid(format!("spec.mtu: {mtu} is not in 1280..=65535")))
    })
    .transpose()
}

/// A target that the exit does not offer is refused by the gateway, which would count as an answer.
fn probe(written: &Probe, routes: &[Prefix]) -> Result<ExitProbe, SpecRefusal> {
    let text = &written.interval;
    let interval: SignedDuration = text
        .parse()
        .map_err(|error| invalid(format!("spec.probe.interval: {error}")))?;
    let milliseconds = u32::try_from(interval.as_millis()).ok();
    let interval_milliseconds = milliseconds
        .filter(|interval| (10..=60_000).contains(interval))
        .ok_or_else(|| invalid(format!("spec.probe.interval: {text} is not in 10ms..=60s")))?;
    let targets = written.targets.iter().map(|target| {
        let text = &target.tcp;
        let refused = |problem: String| invalid(format!("spec.probe.targets: {text}: {problem}"));
        let socket: SocketAddr = text
            .parse()
            .map_err(|error: AddrParseError| refused(error.to_string()))?;
        match routes.iter().any(|route| route.contains(&socket.ip())) {
            true => Ok(socket),
            false => Err(refused(
                "the exit offers no route to it; name a server that spec.routes hold".to_owned(),
            )),
        }
    });
    Ok(ExitProbe {
        interval_milliseconds,
        failure_threshold: written.failure_threshold,
        targets: targets.collect::<Result<_, _>>()?,
    })
}

fn allowed(spec: &ExitNodeSpec) -> Result<ExitNamespaces, SpecRefusal> {
    match (
        spec.allowed_namespaces.from,
        &spec.allowed_namespaces.selector,
    ) {
        (FromNamespaces::All, _) => Ok(ExitNamespaces::All),
        (FromNamespaces::Selector, Some(written)) => {
            selector("spec.allowedNamespaces.selector", written).map(ExitNamespaces::Selector)
        }
        (FromNamespaces::Selector, None) => Err(invalid(
            "spec.allowedNamespaces: from Selector needs selector; write it, or from: All",
        )),
    }
}

fn selector(
    field: &str,
    written: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
) -> Result<ParsedSelector, SpecRefusal> {
    ParsedSelector::try_from(written.clone()).map_err(|error| invalid(format!("{field}: {error}")))
}

fn address(text: &str) -> Result<Address, SpecRefusal> {
    text.parse().map_err(|_| {
        invalid(format!(
            "spec.gateway.egressIPs: {text:?} is not an IP address"
        ))
    })
}

pub(super) fn prefix(field: &str, text: &str) -> Result<Prefix, SpecRefusal> {
    text.parse()
        .map_err(|error| invalid(format!("{field}: {error}")))
}

pub(super) const fn lan(access: LanAccess) -> Access {
    match access {
        LanAccess::Allow => Access::Allow,
        LanAccess::Deny => Access::Deny,
    }
}
