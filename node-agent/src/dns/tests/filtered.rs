//! Names that rules allow, and what an answer waits for.

use std::sync::Arc;

use postern_agent_core::records::RecordVerdict;
use postern_host_testing::fixture::scope;
use postern_intent::body::{
    Access, EgressPath, Rule, Terms, TermsAudit, TermsDnsMode, TermsDnsRefusal, TermsEnforcement,
};
use postern_plan::desired::NameRules;
use postern_plan::desired::dns::DnsEntry;
use postern_plan::desired::names::granted_set;
use postern_plan::host::Family;

use super::super::QuestionOutcome;
use super::dig::{Answer, dig};
use super::namespace::{alone, full_name};
use super::world::{CLUSTER, Facts, KernelAnswer, WAYS, WORLD, World, entry};

fn rule() -> Rule {
    Rule {
        name: "apis".to_owned(),
        action: Access::Allow,
        to: Vec::new(),
        names: vec!["*.example.com".parse().unwrap()],
        ports: Vec::new(),
    }
}

/// An entry whose one rule allows `*.example.com`.
fn filtering(refusal: TermsDnsRefusal) -> DnsEntry {
    let mut scope = scope(EgressPath::Tunnel);
    scope.terms.rules = vec![rule()];
    DnsEntry {
        mode: TermsDnsMode::Filter,
        refusal,
        names: Arc::new(NameRules::of(&scope)),
        ..entry()
    }
}

#[test]
fn a_name_that_no_rule_allows_is_refused_as_the_policy_says_and_reaches_no_server() {
    alone(
        full_name!(
            "a_name_that_no_rule_allows_is_refused_as_the_policy_says_and_reaches_no_server"
        ),
        || {
            let world = World::new();
            for (refusal, code) in [
                (TermsDnsRefusal::NxDomain, "NXDOMAIN"),
                (TermsDnsRefusal::Refused, "REFUSED"),
            ] {
                world.set(&filtering(refusal));
                for way in WAYS {
                    for name in ["example.com", "example.org", "a.example.com.evil.net"] {
                        let found = dig(&world.pods[0], &format!("{way} {name} A"));
                        assert_eq!(found, Answer::of(code, &[]), "{way} {name}");
                    }
                    let inside = dig(&world.pods[0], &format!("{way} api.cluster.local A"));
                    assert_eq!(inside, Answer::of("NOERROR", &[CLUSTER]), "{way}");
                }
            }
            assert_eq!(world.outside.asked(), []);
            assert_eq!(world.counters.get(QuestionOutcome::NameRefused), 24);
        },
    );
}

#[test]
fn the_name_of_a_resolver_over_https_is_refused_also_where_a_rule_allows_it_and_the_canary_is_missing()
 {
    alone(
        full_name!(
            "the_name_of_a_resolver_over_https_is_refused_also_where_a_rule_allows_it_and_the_canary_is_missing"
        ),
        || {
            let world = World::new();
            world.set(&filtering(TermsDnsRefusal::Refused));
            for way in WAYS {
                let allowed = dig(&world.pods[0], &format!("{way} api.example.com A"));
                assert_eq!(allowed, Answer::of("NOERROR", &[WORLD]), "{way}");
            }
            let before = world.outside.asked().len();
            for way in WAYS {
                let resolver = dig(&world.pods[0], &format!("{way} One.DoH.example.com A"));
                assert_eq!(resolver, Answer::of("REFUSED", &[]), "{way}");
                let canary = dig(&world.pods[0], &format!("{way} use-application-dns.net A"));
                assert_eq!(canary, Answer::of("NXDOMAIN", &[]), "{way}");
            }
            assert_eq!(world.outside.asked().len(), before);
            assert_eq!(world.counters.get(QuestionOutcome::ResolverName), 8);
            assert_eq!(world.counters.get(QuestionOutcome::NameRefused), 0);
        },
    );
}

#[test]
fn an_allowed_name_is_answered_when_its_address_is_granted_and_else_fails() {
    alone(
        full_name!("an_allowed_name_is_answered_when_its_address_is_granted_and_else_fails"),
        || {
            let world = World::new();
            world.set(&filtering(TermsDnsRefusal::NxDomain));
            for way in WAYS {
                let found = dig(&world.pods[0], &format!("{way} Api.Example.COM. A"));
                assert_eq!(found, Answer::of("NOERROR", &[WORLD]), "{way}");
            }
            let granted = world.facts().granted;
            assert_eq!(granted.len(), 4);
            let id = scope(EgressPath::Tunnel).id;
            for grant in granted {
                assert_eq!(grant.set, granted_set(&id, &rule(), Family::V4));
                assert_eq!(grant.address.to_string(), WORLD);
                assert_eq!(grant.seconds.get(), 60);
            }
            world.set_facts(Facts {
                kernel: KernelAnswer::IsFull,
                ..Facts::usual()
            });
            for way in WAYS {
                let found = dig(&world.pods[0], &format!("{way} api.example.com A"));
                assert_eq!(found, Answer::of("SERVFAIL", &[]), "{way}");
            }
            assert_eq!(world.counters.get(QuestionOutcome::NotGranted), 4);
            assert_eq!(world.counters.get(QuestionOutcome::Exit), 4);
        },
    );
}

#[test]
fn an_address_of_the_cluster_is_refused_also_for_an_allowed_name() {
    alone(
        full_name!("an_address_of_the_cluster_is_refused_also_for_an_allowed_name"),
        || {
            let world = World::new();
            world.set(&filtering(TermsDnsRefusal::NxDomain));
            world.never_brings(&format!("{WORLD}/32"));
            for way in WAYS {
                let found = dig(&world.pods[0], &format!("{way} api.example.com A"));
                assert_eq!(found, Answer::of("NXDOMAIN", &[]), "{way}");
            }
            assert_eq!(world.facts().granted, []);
            assert_eq!(world.counters.get(QuestionOutcome::AddressRefused), 4);
        },
    );
}

/// The same entry of a policy that only observes.
fn observing(entry: DnsEntry) -> DnsEntry {
    let terms = Terms {
        enforcement: TermsEnforcement::Observe,
        ..Terms::nothing()
    };
    DnsEntry {
        terms: Some(Arc::new(terms)),
        ..entry
    }
}

#[test]
fn a_policy_that_only_observes_asks_for_what_it_would_refuse_counts_it_and_grants_nothing_for_it() {
    alone(
        full_name!(
            "a_policy_that_only_observes_asks_for_what_it_would_refuse_counts_it_and_grants_nothing_for_it"
        ),
        || {
            let world = World::new();
            let all = |entry: &DnsEntry, name: &str, wanted: &Answer| {
                world.set(entry);
                for way in WAYS {
                    let found = dig(&world.pods[0], &format!("{way} {name} A"));
                    assert_eq!(found, *wanted, "{way} {name}");
                }
            };
            let answered = Answer::of("NOERROR", &[WORLD]);
            let filter = || observing(filtering(TermsDnsRefusal::NxDomain));
            let would_refuse = || world.counters.get(QuestionOutcome::WouldRefuse);
            all(&filter(), "example.org", &answered);
            assert_eq!((would_refuse(), world.facts().granted), (4, Vec::new()));
            all(&filter(), "api.example.com", &answered);
            assert_eq!((would_refuse(), world.facts().granted.len()), (4, 4));
            // The modes: what `Block` would refuse is asked of the resolver that the pod chose.
            let by_choice = |mode| DnsEntry {
                mode,
                upstreams: Vec::new(),
                ..observing(entry())
            };
            world.set_facts(Facts {
                asked: Some("203.0.113.54:53".parse().unwrap()),
                ..Facts::usual()
            });
            all(&by_choice(TermsDnsMode::Block), "example.org", &answered);
            all(&by_choice(TermsDnsMode::Forward), "example.org", &answered);
            assert_eq!(would_refuse(), 12);
            // What is no matter of the policy's list is refused as ever.
            all(
                &filter(),
                "one.doh.example.com",
                &Answer::of("NXDOMAIN", &[]),
            );
            world.set_facts(Facts {
                asked: Some("192.168.77.53:53".parse().unwrap()),
                ..Facts::usual()
            });
            all(
                &by_choice(TermsDnsMode::Forward),
                "example.org",
                &Answer::of("REFUSED", &[]),
            );
            world.set_facts(Facts {
                kernel: KernelAnswer::IsFull,
                ..Facts::usual()
            });
            all(&filter(), "api.example.com", &answered);
            world.set(&filter());
            world.never_brings(&format!("{WORLD}/32"));
            for name in ["example.org", "api.example.com"] {
                let found = dig(&world.pods[0], &format!("{} {name} A", WAYS[0]));
                assert_eq!(found, Answer::of("NXDOMAIN", &[]), "{name}");
            }
            assert_eq!(would_refuse(), 12);
        },
    );
}

#[test]
fn the_resolver_that_the_pod_chose_is_not_believed() {
    alone(
        full_name!("the_resolver_that_the_pod_chose_is_not_believed"),
        || {
            let world = World::new();
            world.set(&DnsEntry {
                upstreams: Vec::new(),
                ..filtering(TermsDnsRefusal::NxDomain)
            });
            world.set_facts(Facts {
                asked: Some("203.0.113.54:53".parse().unwrap()),
                ..Facts::usual()
            });
            for way in WAYS {
                let found = dig(&world.pods[0], &format!("{way} api.example.com A"));
                assert_eq!(found, Answer::of("REFUSED", &[]), "{way}");
            }
            assert_eq!(world.outside.asked(), []);
            assert_eq!(world.counters.get(QuestionOutcome::NoResolver), 4);
        },
    );
}

#[test]
fn names_are_recorded_as_the_policy_says_and_only_those_outside_the_cluster() {
    alone(
        full_name!("names_are_recorded_as_the_policy_says_and_only_those_outside_the_cluster"),
        || {
            let world = World::new();
            let audited = |audit| DnsEntry {
                terms: Some(Arc::new(Terms {
                    audit,
                    ..Terms::nothing()
                })),
                ..filtering(TermsDnsRefusal::NxDomain)
            };
            let recorded = |entry: &DnsEntry| {
                world.set(entry);
                world.set_facts(Facts::usual());
                for name in [
                    "API.example.com",
                    "example.org",
                    "kubernetes.default.svc.cluster.local",
                ] {
                    dig(&world.pods[0], &format!("{} {name} A", WAYS[0]));
                }
                let recorded = world.facts().recorded;
                Vec::from_iter(
                    recorded
                        .into_iter()
                        .map(|one| (one.name, one.verdict, one.reason)),
                )
            };
            let denied = (
                "example.org".to_owned(),
                RecordVerdict::Denied,
                "name-refused",
            );
            let allowed = ("api.example.com".to_owned(), RecordVerdict::Allowed, "exit");
            assert_eq!(recorded(&audited(TermsAudit::None)), []);
            assert_eq!(
                recorded(&audited(TermsAudit::Denied)),
                std::slice::from_ref(&denied)
            );
            assert_eq!(recorded(&audited(TermsAudit::All)), [allowed, denied]);
        },
    );
}
