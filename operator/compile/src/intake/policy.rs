use std::collections::BTreeSet;
use std::net::SocketAddr;

use jiff::SignedDuration;
use postern_crds::EgressPolicy;
use postern_crds::conditions::Reason;
use postern_crds::egress_policy as crd;
use postern_crds::honoured;
use postern_intent::body::{
    Access, DnsTerms, Rule, RulePortRange, RuleProtocol, ScopeFailureMode, Terms, TermsAudit,
    TermsDnsMode, TermsDnsRefusal, TermsEnforcement, TermsEstablishedFlows, TermsLimits,
    TermsReplies,
};
use postern_intent::special_use::is_private;
use postern_intent::{ExitName, NamePattern, Prefix};

use super::error::{IntakeError, Reader};
use super::exit::{lan, prefix};
use super::invalid;
use super::name;
use crate::snapshot::{
    Ceiling, CompilerSettings, ParsedSelector, Permission, PolicyKey, PolicyRoute, PolicyTerms,
    SnapshotPolicy, SpecRefusal,
};

/// What a rule without `to` is about.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// What a policy writes instead of a field that the ceiling withholds and that has a default.
const LEAVE_OUT: &str = "leave it out";

/// The port of DNS (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;

/// Takes in a policy and holds it against what tenants may ask for.
///
/// # Errors
/// [`IntakeError`] if it has no usable name, namespace or UID. Everything else is a refusal in [`SnapshotPolicy::terms`].
pub fn policy(
    object: &EgressPolicy,
    settings: &CompilerSettings,
) -> Result<SnapshotPolicy, IntakeError> {
    let reader = Reader::new("EgressPolicy", &object.metadata);
    let name: postern_intent::PodName = reader.name()?;
    let namespace = reader.namespace()?;
    let ceiling = settings.ceiling_of(&namespace);
    let selector = ParsedSelector::try_from(object.spec.pod_selector.clone());
    let mut terms = terms(object).and_then(|terms| permitted(object, terms, ceiling));
    if let Err(error) = &selector {
        terms = Err(invalid(format!("spec.podSelector: {error}")));
    }
    Ok(SnapshotPolicy {
        key: PolicyKey {
            namespace,
            name: name.into(),
        },
        uid: reader.uid()?,
        generation: object.metadata.generation.unwrap_or_default(),
        // Nobody can say whom a broken selector means, so it is taken to mean everybody.
        selector: selector.unwrap_or_else(|_| ParsedSelector::everything()),
        priority: object.spec.priority,
        terms,
    })
}

fn terms(object: &EgressPolicy) -> Result<PolicyTerms, SpecRefusal> {
    let unknown = honoured::not_implemented(object);
    if !unknown.is_empty() {
        return Err(SpecRefusal {
            reason: Reason::NotImplemented,
            message: honoured::message(&unknown),
        });
    }
    let spec = &object.spec;
    let rules = spec
        .rules
        .iter()
        .enumerate()
        .map(|(position, written)| rule(position, written));
    let terms = Terms {
        admin: Vec::new(),
        rules: rules.collect::<Result<_, _>>()?,
        default_action: action(spec.default_action),
        replies: match spec.inbound.replies {
            crd::Replies::Services => TermsReplies::Services,
            crd::Replies::None => TermsReplies::None,
        },
        lan: lan(spec.lan_access),
        special_use_exceptions: spec
            .special_use
            .exceptions
            .iter()
            .map(|text| prefix("spec.specialUse.exceptions", text))
            .collect::<Result<_, _>>()?,
        established_flows: match spec.established_flows {
            crd::EstablishedFlows::Cut => TermsEstablishedFlows::Cut,
            crd::EstablishedFlows::Keep => TermsEstablishedFlows::Keep,
        },
        dns: dns(&spec.dns)?,
        limits: spec
            .limits
            .as_ref()
            .map(limits)
            .transpose()?
            .unwrap_or_default(),
        enforcement: match spec.enforcement {
            crd::Enforcement::Enforce => TermsEnforcement::Enforce,
            crd::Enforcement::Observe => TermsEnforcement::Observe,
        },
        audit: match spec.audit.log {
            crd::AuditLog::None => TermsAudit::None,
            crd::AuditLog::Denied => TermsAudit::Denied,
            crd::AuditLog::All => TermsAudit::All,
        },
    };
    let mut granting = terms.rules.iter().filter(|rule| !rule.names.is_empty());
    if terms.dns.mode != TermsDnsMode::Filter && granting.next().is_some() {
        return Err(invalid(
            "spec.rules: a rule with fqdn needs dns.mode Filter, because only the filter learns the addresses of a name",
        ));
    }
    check_granting(&terms.rules)?;
    Ok(PolicyTerms {
        route: route(spec)?,
        terms,
        failure: failure(spec.failure_mode, spec.fail_open_after.as_deref())?,
    })
}

/// The schema refuses what is refused here too; a manifest that never met an API server would leave by another way than it names.
fn route(spec: &crd::EgressPolicySpec) -> Result<PolicyRoute, SpecRefusal> {
    let exits = &spec.route.exit_nodes;
    match spec.route.type_ {
        crd::RouteType::Exit if exits.is_empty() => Err(invalid(
            "spec.route.exitNodes: name 1 to 8 exits in order of preference",
        )),
        crd::RouteType::Exit => {
            let exits = exits.iter().map(exit).collect::<Result<_, _>>()?;
            Ok(PolicyRoute::Exits(exits))
        }
        crd::RouteType::NodeUplink if !exits.is_empty() => Err(invalid(
            "spec.route.exitNodes is for route type Exit only; leave it out, or write type: Exit",
        )),
        crd::RouteType::NodeUplink if spec.failure_mode == crd::FailureMode::Open => Err(invalid(
            "spec.failureMode: route type NodeUplink has no exit that could be lost; write failureMode: Closed",
        )),
        crd::RouteType::NodeUplink => Ok(PolicyRoute::NodeUplink),
    }
}

/// Whole seconds, rounded up: a scope opens no sooner than after the policy's time.
fn failure(mode: crd::FailureMode, after: Option<&str>) -> Result<ScopeFailureMode, SpecRefusal> {
    let after = match (mode, after) {
        (crd::FailureMode::Closed, None) => return Ok(ScopeFailureMode::Closed),
        (crd::FailureMode::Closed, Some(_)) => {
            return Err(invalid(
                "spec.failOpenAfter is for failureMode Open only; leave it out, or write failureMode: Open",
            ));
        }
        (crd::FailureMode::Open, None) => {
            return Err(invalid(
                "spec.failureMode: Open needs failOpenAfter, the time without an exit after which traffic may use the node's \
                 uplink, such as 30s",
            ));
        }
        (crd::FailureMode::Open, Some(after)) => after,
    };
    let refused = |problem: String| invalid(format!("spec.failOpenAfter: {problem}"));
    let time: SignedDuration = after
        .parse()
        .map_err(|error: jiff::Error| refused(error.to_string()))?;
    let part = i64::from(time.subsec_nanos() > 0);
    let seconds = u32::try_from(time.as_secs() + part).ok();
    let after_seconds = seconds
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| refused(format!("{after} is no time above zero")))?;
    Ok(ScopeFailureMode::Open { after_seconds })
}

fn permitted(
    object: &EgressPolicy,
    terms: PolicyTerms,
    ceiling: &Ceiling,
) -> Result<PolicyTerms, SpecRefusal> {
    let asked = &terms.terms;
    let asks = [
        (
            "spec.lanAccess",
            asked.lan == Access::Allow,
            ceiling.lan,
            LEAVE_OUT,
        ),
        (
            "spec.rules",
            names_private(&asked.rules),
            ceiling.lan,
            "name no private range in rules that allow",
        ),
        (
            "spec.dns.upstreams",
            names_private_resolver(asked),
            ceiling.lan,
            "name no private resolver",
        ),
        (
            "spec.specialUse.exceptions",
            !asked.special_use_exceptions.is_empty(),
            ceiling.special_use,
            LEAVE_OUT,
        ),
        (
            "spec.dns.upstreams",
            !asked.dns.upstreams.is_empty(),
            ceiling.upstreams,
            LEAVE_OUT,
        ),
        (
            "spec.failureMode",
            terms.failure != ScopeFailureMode::Closed,
            ceiling.fail_open,
            LEAVE_OUT,
        ),
        (
            "spec.route.type",
            terms.route == PolicyRoute::NodeUplink,
            ceiling.node_uplink,
            "write type: Exit",
        ),
        (
            "spec.enforcement",
            asked.enforcement == TermsEnforcement::Observe,
            ceiling.observe,
            "write enforcement: Enforce",
        ),
    ];
    let not_permitted = |message: String| {
        Err(SpecRefusal {
            reason: Reason::NotPermitted,
            message,
        })
    };
    if let Some((field, _, _, instead)) = asks
        .iter()
        .find(|(_, asked, may, _)| *asked && *may == Permission::Withheld)
    {
        return not_permitted(format!(
            "{field} is more than the administrator allows; {instead}"
        ));
    }
    if object.spec.priority > ceiling.priority {
        return not_permitted(format!(
            "spec.priority is above the administrator's highest, {}",
            ceiling.priority
        ));
    }
    Ok(terms)
}

fn limits(written: &crd::Limits) -> Result<TermsLimits, SpecRefusal> {
    let limits = TermsLimits {
        connections: written.connections,
        new_connections_per_second: written.new_connections_per_second,
        packets_per_second: written.packets_per_second.map(u64::from),
        bytes_per_second: written.bytes_per_second.as_ref().map(bytes).transpose()?,
    };
    match limits.are_possible() {
        true => Ok(limits),
        false => Err(invalid(format!(
            "spec.limits: each limit is 1 or more, and bytesPerSecond at most {}",
            TermsLimits::MOST_BYTES
        ))),
    }
}

/// A number of bytes, or a quantity of Kubernetes without a fraction: the schema takes no other one.
fn bytes(written: &crd::ByteRate) -> Result<u64, SpecRefusal> {
    let no_quantity = || {
        invalid(format!(
            "spec.limits.bytesPerSecond: {written} is no number of bytes such as 1048576 or 10Mi"
        ))
    };
    let text = match written {
        crd::ByteRate::Number(number) => return u64::try_from(*number).map_err(|_| no_quantity()),
        crd::ByteRate::Quantity(text) => text,
    };
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match text.strip_prefix(digits).unwrap_or_default() {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(no_quantity()),
    };
    let number: u64 = digits.parse().map_err(|_| no_quantity())?;
    Ok(number.saturating_mul(unit))
}

fn names_private_resolver(terms: &Terms) -> bool {
    let mut upstreams = terms.dns.upstreams.iter();
    upstreams.any(|one| is_private(&Prefix::host(one.ip())))
}

/// A private range in a rule is the policy's permission to reach it, as `lanAccess` is.
fn names_private(rules: &[Rule]) -> bool {
    let mut allowed = rules.iter().filter(|rule| rule.action == Access::Allow);
    allowed.any(|rule| rule.to.iter().any(is_private))
}

fn exit(written: &crd::ExitRef) -> Result<ExitName, SpecRefusal> {
    written
        .name
        .parse()
        .map_err(|error| invalid(format!("spec.route.exitNodes: {error}")))
}

const fn action(action: crd::Action) -> Access {
    match action {
        crd::Action::Allow => Access::Allow,
        crd::Action::Deny => Access::Deny,
    }
}

fn rule(position: usize, written: &crd::PolicyRule) -> Result<Rule, SpecRefusal> {
    let field = format!("spec.rules[{position}]");
    // The schema refuses it too; a manifest that never met an API server could open everything by saying nothing.
    if written.to.is_empty() && written.ports.is_empty() {
        return Err(invalid(format!(
            "{field}: name to, ports or both; to: 0.0.0.0/0 and ::/0 mean every destination"
        )));
    }
    let (cidrs, names) = destinations(&field, &written.to)?;
    if !names.is_empty() && written.action == crd::Action::Deny {
        return Err(invalid(format!(
            "{field}: a name can only be allowed, because a denied name is still reachable by its address"
        )));
    }
    let to = cidrs
        .into_iter()
        .map(|cidr| prefix(&format!("{field}.to"), cidr));
    Ok(Rule {
        name: written.name.clone().unwrap_or_else(|| position.to_string()),
        action: action(written.action),
        to: to.collect::<Result<_, _>>()?,
        names,
        ports: written
            .ports
            .iter()
            .map(|written| ports(&field, written))
            .collect::<Result<_, _>>()?,
    })
}

/// Prefixes and names of a rule. The schema refuses an entry that is both or neither; a manifest that never met an API server
/// would open everything by saying nothing.
pub(super) fn destinations<'a>(
    field: &str,
    written: &'a [crd::Destination],
) -> Result<(Vec<&'a str>, Vec<NamePattern>), SpecRefusal> {
    if written.is_empty() {
        return Ok((EVERYWHERE.to_vec(), Vec::new()));
    }
    let (mut cidrs, mut names) = (Vec::new(), BTreeSet::new());
    for destination in written {
        match (&destination.cidr, &destination.fqdn) {
            (Some(cidr), None) => cidrs.push(cidr.as_str()),
            (None, Some(fqdn)) => {
                names.insert(name(&format!("{field}.to"), fqdn)?);
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(invalid(format!(
                    "{field}.to: every entry needs one of cidr and fqdn"
                )));
            }
        }
    }
    Ok((cidrs, names.into_iter().collect()))
}

/// What the filter grants is kept by the name of the rule.
pub(super) fn check_granting(rules: &[Rule]) -> Result<(), SpecRefusal> {
    let mut seen = BTreeSet::new();
    for rule in rules.iter().filter(|rule| !rule.names.is_empty()) {
        if !seen.insert(&rule.name) {
            return Err(invalid(format!(
                "spec.rules: two rules with fqdn have the name {:?}; a rule without a name has its place from 0 as one",
                rule.name
            )));
        }
    }
    Ok(())
}

/// The schema refuses these too; a manifest that never met an API server would open more than it says.
pub(super) fn ports(field: &str, written: &crd::PortRange) -> Result<RulePortRange, SpecRefusal> {
    let protocol = match written.protocol {
        crd::Protocol::TCP => RuleProtocol::Tcp,
        crd::Protocol::UDP => RuleProtocol::Udp,
        crd::Protocol::SCTP => RuleProtocol::Sctp,
        crd::Protocol::ICMP => RuleProtocol::Icmp,
    };
    let (from, to) = match (written.port, written.end_port) {
        (Some(_), _) if protocol == RuleProtocol::Icmp => {
            return Err(invalid(format!("{field}.ports: ICMP has no ports")));
        }
        (Some(port), Some(end)) if end < port => {
            return Err(invalid(format!("{field}.ports: endPort is below port")));
        }
        (None, Some(_)) => {
            return Err(invalid(format!("{field}.ports: endPort needs port")));
        }
        (Some(port), end) => (port, end.unwrap_or(port)),
        (None, None) => (0, u16::MAX),
    };
    Ok(RulePortRange { protocol, from, to })
}

fn dns(written: &crd::Dns) -> Result<DnsTerms, SpecRefusal> {
    let mode = match written.mode {
        crd::DnsMode::Forward => TermsDnsMode::Forward,
        crd::DnsMode::Block => TermsDnsMode::Block,
        crd::DnsMode::Filter => TermsDnsMode::Filter,
    };
    let upstream = |text: &String| {
        let address = text
            .parse()
            .map_err(|_| invalid(format!("spec.dns.upstreams: {text:?} is not an IP address")))?;
        Ok(SocketAddr::new(address, DNS_PORT))
    };
    Ok(DnsTerms {
        mode,
        refusal: match written.refusal {
            crd::DnsRefusal::NXDOMAIN => TermsDnsRefusal::NxDomain,
            crd::DnsRefusal::REFUSED => TermsDnsRefusal::Refused,
        },
        upstreams: written
            .upstreams
            .iter()
            .map(upstream)
            .collect::<Result<_, _>>()?,
    })
}
