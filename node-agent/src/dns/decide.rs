//! Where a question goes. Pure: the table, the question and what is known of the node are
//! arguments.

use std::net::SocketAddr;

use hickory_proto::rr::RecordType;
use postern_intent::ScopeId;
use postern_intent::body::{TermsDnsMode, TermsDnsRefusal};
use postern_plan::desired::dns::{CANARY, DnsEntry, DnsExit, DnsPlan};
use postern_plan::desired::{AskedResolver, Lease, NotAsked};

use super::counters::QuestionOutcome;
use super::own::NodeResolvers;
use super::question::{Code, DnsQuestion};
use super::zones::is_cluster_name;

/// The port of a resolver of the cluster.
const DNS: u16 = 53;

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DnsDecision {
    /// The cluster's resolvers are asked, by ordinary sockets.
    Cluster(Vec<SocketAddr>),
    /// These resolvers are asked, by sockets of the exit.
    Exit {
        exit: DnsExit,
        resolvers: Vec<SocketAddr>,
        /// What it is counted as once a resolver has answered.
        outcome: QuestionOutcome,
        /// The scope whose circuits the resolvers have; none: the pod chose its resolver.
        circuits: Option<ScopeId>,
    },
    /// It is answered here.
    Here {
        code: Code,
        outcome: QuestionOutcome,
    },
}

/// What has to be known of the node to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeNeed {
    /// Nothing: most questions are decided by the table.
    Nothing,
    /// The address that the pod asked.
    AskedAddress,
}

/// What is needed for this question.
pub(super) fn need(question: &DnsQuestion, entry: &DnsEntry, plan: &DnsPlan) -> NodeNeed {
    if entry.follows_choice() && !is_clusters(question, plan) {
        NodeNeed::AskedAddress
    } else {
        NodeNeed::Nothing
    }
}

/// Decides. `asked` is the address that the pod named, `own` the node's resolvers.
pub(super) fn decide(
    question: &DnsQuestion,
    entry: &DnsEntry,
    plan: &DnsPlan,
    lease: Lease,
    asked: Option<AskedResolver>,
    own: &NodeResolvers,
) -> DnsDecision {
    if matches!(question.kind, RecordType::AXFR | RecordType::IXFR) {
        return here(Code::Refused, QuestionOutcome::NotForwarded);
    }
    if is_clusters(question, plan) {
        return match plan.cluster_resolvers.as_slice() {
            [] => here(Code::Failed, QuestionOutcome::NoResolver),
            resolvers => DnsDecision::Cluster(
                resolvers
                    .iter()
                    .map(|address| (*address, DNS).into())
                    .collect(),
            ),
        };
    }
    let mut outcome = QuestionOutcome::Exit;
    if entry.mode == TermsDnsMode::Filter {
        match filtered(&question.canonical_name(), entry, plan) {
            Some(refused) if refused.1 == QuestionOutcome::NameRefused && entry.observes() => {
                outcome = QuestionOutcome::WouldRefuse;
            }
            Some((code, outcome)) => return here(code, outcome),
            None => {}
        }
    }
    let own = own.of(entry);
    match plan.outside(entry, lease, asked, Some(own)) {
        Ok(asked) => DnsDecision::Exit {
            exit: asked.exit.clone(),
            circuits: entry.scope.clone().filter(|_| {
                let is_named = |one| entry.upstreams.contains(one) || own.contains(one);
                asked.resolvers.iter().all(is_named)
            }),
            resolvers: asked.resolvers,
            outcome: match asked.observed {
                Some(_) => QuestionOutcome::WouldRefuse,
                None => outcome,
            },
        },
        Err(NotAsked::Refused | NotAsked::ResolverRefused) => {
            here(Code::Refused, QuestionOutcome::Blocked)
        }
        Err(NotAsked::NoResolver) => here(Code::Refused, QuestionOutcome::NoResolver),
        Err(NotAsked::NoExit | NotAsked::NotReached) => here(Code::Failed, QuestionOutcome::NoExit),
        Err(NotAsked::NoLease) => here(Code::Failed, QuestionOutcome::NoLease),
    }
}

/// What becomes of a name at once where names are filtered. A resolver over HTTPS would answer for every other name.
fn filtered(name: &str, entry: &DnsEntry, plan: &DnsPlan) -> Option<(Code, QuestionOutcome)> {
    if name == CANARY {
        return Some((Code::NoName, QuestionOutcome::ResolverName));
    }
    if plan.is_resolver_name(name) {
        return Some((refusal(entry), QuestionOutcome::ResolverName));
    }
    let refused = || (refusal(entry), QuestionOutcome::NameRefused);
    entry.names.allowing(name).is_empty().then(refused)
}

/// The code for what the policy does not let the pod resolve.
pub(super) const fn refusal(entry: &DnsEntry) -> Code {
    match entry.refusal {
        TermsDnsRefusal::NxDomain => Code::NoName,
        TermsDnsRefusal::Refused => Code::Refused,
    }
}

fn here(code: Code, outcome: QuestionOutcome) -> DnsDecision {
    DnsDecision::Here { code, outcome }
}

pub(super) fn is_clusters(question: &DnsQuestion, plan: &DnsPlan) -> bool {
    is_cluster_name(&question.name, &plan.cluster_domain, &plan.cluster_ranges)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use postern_intent::body::{Access, Rule, RuleProtocol, Terms};
    use postern_plan::desired::SocketSource;
    use postern_plan::host::Family;

    use super::*;

    fn question(name: &[u8], kind: u8) -> DnsQuestion {
        let mut message = b"\0\0\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        message.extend_from_slice(name);
        message.extend_from_slice(&[0, 0, kind, 0, 1]);
        DnsQuestion::read(&message).unwrap()
    }

    fn outside() -> DnsQuestion {
        question(b"\x07example\x03com", 1)
    }

    fn plan() -> DnsPlan {
        DnsPlan {
            entries: BTreeMap::new(),
            cluster_domain: "cluster.local".to_owned(),
            cluster_resolvers: vec!["10.96.0.10".parse().unwrap()],
            cluster_ranges: vec!["10.96.0.0/12".parse().unwrap()],
            never_granted: Vec::new(),
            resolver_names: Vec::new(),
        }
    }

    fn exit() -> DnsExit {
        DnsExit {
            exit: Some("berlin".parse().unwrap()),
            mark: 0x10,
            device: "pst-c-berlin".parse().unwrap(),
            sources: BTreeMap::from([(
                Family::V4,
                SocketSource::Address("198.18.0.2".parse().unwrap()),
            )]),
            offered: None,
        }
    }

    fn entry() -> DnsEntry {
        DnsEntry {
            scope: None,
            mode: TermsDnsMode::Forward,
            refusal: TermsDnsRefusal::NxDomain,
            names: Arc::default(),
            upstreams: vec!["203.0.113.53:53".parse().unwrap()],
            terms: Some(Arc::new(Terms {
                default_action: Access::Allow,
                ..Terms::nothing()
            })),
            exit: Some(exit()),
        }
    }

    fn decided(entry: &DnsEntry, asked: Option<&str>, own: &[&str]) -> DnsDecision {
        let own = own.iter().map(|one| one.parse().unwrap());
        decide(
            &outside(),
            entry,
            &plan(),
            Lease::Runs,
            asked.map(|one| AskedResolver {
                address: one.parse().unwrap(),
                protocol: RuleProtocol::Udp,
            }),
            &NodeResolvers::set(own.collect()),
        )
    }

    fn by_exit(resolver: &str) -> DnsDecision {
        DnsDecision::Exit {
            exit: exit(),
            resolvers: vec![resolver.parse().unwrap()],
            outcome: QuestionOutcome::Exit,
            circuits: None,
        }
    }

    #[test]
    fn a_resolver_that_the_pod_chose_has_no_circuit_and_those_of_policy_and_setting_have_their_scopes()
     {
        let scope: ScopeId = "crawlers/web@berlin".parse().unwrap();
        let named = DnsEntry {
            scope: Some(scope.clone()),
            ..entry()
        };
        let open = DnsEntry {
            upstreams: Vec::new(),
            ..named.clone()
        };
        let circuits = |entry: &DnsEntry, asked| match decided(entry, asked, &["192.0.2.54:53"]) {
            DnsDecision::Exit { circuits, .. } => circuits,
            other => panic!("{other:?}"),
        };
        assert_eq!(circuits(&named, None), Some(scope.clone()));
        assert_eq!(circuits(&open, Some("10.96.0.10:53")), Some(scope));
        assert_eq!(circuits(&open, Some("192.0.2.53:53")), None);
    }

    #[test]
    fn a_resolver_of_the_node_with_a_private_address_is_asked_by_the_uplink_alone() {
        let own = NodeResolvers {
            by_exit: Vec::new(),
            by_uplink: vec!["10.0.0.2:53".parse().unwrap()],
        };
        let by_exit = DnsEntry {
            upstreams: Vec::new(),
            ..entry()
        };
        let by_uplink = DnsEntry {
            exit: Some(DnsExit {
                exit: None,
                mark: 0,
                sources: BTreeMap::from([(Family::V4, SocketSource::Device)]),
                ..exit()
            }),
            ..by_exit.clone()
        };
        let decided =
            |entry: &DnsEntry| decide(&outside(), entry, &plan(), Lease::Runs, None, &own);
        assert!(matches!(
            decided(&by_exit),
            DnsDecision::Here {
                outcome: QuestionOutcome::NoResolver,
                ..
            }
        ));
        assert!(matches!(
            decided(&by_uplink),
            DnsDecision::Exit { resolvers, .. } if resolvers == own.by_uplink
        ));
    }

    #[test]
    fn cluster_names_need_neither_mode_nor_exit_nor_lease() {
        let name = question(b"\x03api\x07cluster\x05local", 1);
        let blocked = DnsEntry {
            mode: TermsDnsMode::Block,
            exit: None,
            ..entry()
        };
        let decision = decide(
            &name,
            &blocked,
            &plan(),
            Lease::RanOut,
            None,
            &NodeResolvers::default(),
        );
        assert_eq!(
            decision,
            DnsDecision::Cluster(vec!["10.96.0.10:53".parse().unwrap()])
        );
    }

    #[test]
    fn names_outside_go_to_the_scopes_resolver_whatever_the_pod_asked() {
        assert_eq!(
            decided(&entry(), Some("192.0.2.53:53"), &["192.0.2.54:53"]),
            by_exit("203.0.113.53:53")
        );
    }

    #[test]
    fn without_resolvers_of_the_scope_the_one_that_was_asked_is_taken_if_it_is_outside() {
        let open = DnsEntry {
            upstreams: Vec::new(),
            ..entry()
        };
        assert_eq!(
            decided(&open, Some("192.0.2.53:53"), &["192.0.2.54:53"]),
            by_exit("192.0.2.53:53")
        );
        for inside in ["10.96.0.10:53", "169.254.20.10:53", "127.0.0.53:53"] {
            assert_eq!(
                decided(&open, Some(inside), &["192.0.2.54:53"]),
                by_exit("192.0.2.54:53"),
                "{inside}"
            );
            assert_eq!(
                decided(&open, Some(inside), &[]),
                here(Code::Refused, QuestionOutcome::NoResolver),
                "{inside}"
            );
        }
    }

    #[test]
    fn no_exit_no_lease_and_no_family_fail() {
        let lost = DnsEntry {
            exit: None,
            ..entry()
        };
        assert_eq!(
            decided(&lost, None, &[]),
            here(Code::Failed, QuestionOutcome::NoExit)
        );
        // Nobody to ask is told first.
        let unnamed = DnsEntry {
            upstreams: Vec::new(),
            ..lost
        };
        assert_eq!(
            decided(&unnamed, Some("10.96.0.10:53"), &[]),
            here(Code::Refused, QuestionOutcome::NoResolver)
        );
        let other_family = DnsEntry {
            upstreams: vec!["[2001:db8::53]:53".parse().unwrap()],
            ..entry()
        };
        assert_eq!(
            decided(&other_family, None, &[]),
            here(Code::Failed, QuestionOutcome::NoExit)
        );
        let decision = decide(
            &outside(),
            &entry(),
            &plan(),
            Lease::RanOut,
            None,
            &NodeResolvers::default(),
        );
        assert_eq!(decision, here(Code::Failed, QuestionOutcome::NoLease));
    }

    #[test]
    fn a_blocked_pod_and_a_zone_transfer_are_refused() {
        let blocked = DnsEntry {
            mode: TermsDnsMode::Block,
            ..entry()
        };
        assert_eq!(
            decided(&blocked, None, &[]),
            here(Code::Refused, QuestionOutcome::Blocked)
        );
        let transfer = question(b"\x07cluster\x05local", 252);
        let decision = decide(
            &transfer,
            &entry(),
            &plan(),
            Lease::Runs,
            None,
            &NodeResolvers::default(),
        );
        assert_eq!(decision, here(Code::Refused, QuestionOutcome::NotForwarded));
    }

    #[test]
    fn a_resolver_that_the_pod_chose_is_subject_to_the_rules_and_to_the_lan_restriction() {
        let with = |change: fn(&mut Terms)| {
            let mut terms = Terms {
                default_action: Access::Allow,
                ..Terms::nothing()
            };
            change(&mut terms);
            DnsEntry {
                upstreams: Vec::new(),
                terms: Some(Arc::new(terms)),
                ..entry()
            }
        };
        let denied = with(|terms| terms.default_action = Access::Deny);
        let refused = here(Code::Refused, QuestionOutcome::Blocked);
        assert_eq!(decided(&denied, Some("192.0.2.53:53"), &[]), refused);
        // What the node's own setting names needs no rule.
        assert_eq!(
            decided(&denied, Some("10.96.0.10:53"), &["192.0.2.54:53"]),
            by_exit("192.0.2.54:53")
        );
        let open = with(|_| {});
        for near in ["192.168.7.53:53", "100.100.100.200:53"] {
            assert_eq!(decided(&open, Some(near), &[]), refused, "{near}");
        }
        let named = with(|terms| {
            terms.default_action = Access::Deny;
            terms.rules = vec![Rule {
                name: "dns".to_owned(),
                action: Access::Allow,
                to: vec![
                    "192.0.2.53/32".parse().unwrap(),
                    "192.168.7.53/32".parse().unwrap(),
                ],
                names: Vec::new(),
                ports: vec![postern_intent::body::RulePortRange {
                    protocol: RuleProtocol::Udp,
                    from: 53,
                    to: 53,
                }],
            }];
        });
        for resolver in ["192.0.2.53:53", "192.168.7.53:53"] {
            assert_eq!(decided(&named, Some(resolver), &[]), by_exit(resolver));
        }
        assert_eq!(decided(&named, Some("192.0.2.9:53"), &[]), refused);
    }
}
