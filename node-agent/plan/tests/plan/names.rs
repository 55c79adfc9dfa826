//! Names that rules allow: whose sets an answer fills, and what no answer may bring.

use postern_intent::body::{Access, Body, Rule, RulePortRange, RuleProtocol, TermsDnsMode};
use postern_plan::Desired;
use postern_plan::desired::NameRules;
use postern_plan::desired::names::{granted_set, kept_set, named_chain, scope_chain};
use postern_plan::host::Family;

use crate::fixture::{OwnedInputs, client, scope_id, word};

fn rule(name: &str, names: &[&str]) -> Rule {
    Rule {
        name: name.to_owned(),
        action: Access::Allow,
        to: Vec::new(),
        names: names.iter().map(|text| word(text)).collect(),
        ports: vec![RulePortRange {
            protocol: RuleProtocol::Tcp,
            from: 443,
            to: 443,
        }],
    }
}

fn filtering(rules: Vec<Rule>) -> Body {
    let mut body = client();
    let terms = &mut body.firewall[0].terms;
    terms.dns.mode = TermsDnsMode::Filter;
    terms.default_action = Access::Deny;
    terms.rules = rules;
    body
}

fn desired(body: Body) -> Desired {
    Desired::from_inputs(&OwnedInputs::of(Some(body)).inputs())
}

#[test]
fn a_name_fills_the_sets_of_each_rule_that_allows_it() {
    let body = filtering(vec![
        rule("exact", &["api.example.org", "example.net"]),
        rule("below", &["*.example.org"]),
        rule("deep", &["*.api.example.org"]),
    ]);
    let rules = NameRules::of(&body.firewall[0]);
    let allowing = |name: &str| -> Vec<String> {
        let rules = rules.allowing(name).into_iter();
        rules.map(|rule| rule.name.clone()).collect()
    };
    assert_eq!(allowing("api.example.org"), ["exact", "below"]);
    assert_eq!(allowing("v1.api.example.org"), ["below", "deep"]);
    assert_eq!(allowing("example.net"), ["exact"]);
    for name in [
        "example.org",
        "www.example.net",
        "org",
        "",
        "api.example.org.evil.net",
        // One label with a dot in it, in the text form of RFC 1035, section 5.1.
        r"x\.example.org",
    ] {
        assert_eq!(allowing(name), [""; 0], "{name}");
    }
    let sets = &rules.allowing("api.example.org")[0].sets;
    let first = &body.firewall[0].terms.rules[0];
    assert_eq!(
        sets[&Family::V6],
        granted_set(&scope_id(), first, Family::V6)
    );
}

#[test]
fn two_policies_two_rules_and_other_names_have_sets_of_their_own() {
    let apis = rule("apis", &["*.example.org"]);
    let other_name = rule("apis", &["*.example.net"]);
    let other_rule = rule("more", &["*.example.org"]);
    let other_scope = word("crawlers/other@eu");
    let mut names = vec![
        granted_set(&scope_id(), &apis, Family::V4),
        granted_set(&scope_id(), &apis, Family::V6),
        granted_set(&scope_id(), &other_name, Family::V4),
        granted_set(&scope_id(), &other_rule, Family::V4),
        granted_set(&other_scope, &apis, Family::V4),
        kept_set(&scope_id(), &apis, Family::V4),
    ];
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6);
    // What a rule is otherwise about changes nothing of what it was granted.
    let mut wider = rule("apis", &["*.example.org"]);
    wider.ports.clear();
    assert_eq!(
        granted_set(&scope_id(), &wider, Family::V4),
        granted_set(&scope_id(), &apis, Family::V4)
    );
}

#[test]
fn a_rule_with_names_looks_at_its_place_for_its_ports_and_lets_only_answered_flows_outlive_a_grant()
{
    let apis = rule("apis", &["*.example.org"]);
    let ruleset = desired(filtering(vec![apis.clone()])).ruleset;
    let text = |chain: &str| -> Vec<String> {
        let rules = ruleset.inet.chains[chain].rules.iter();
        rules.map(ToString::to_string).collect()
    };
    let named = named_chain(&scope_id(), &apis);
    let policy = text(&scope_chain(&scope_id()));
    let place = policy.len() - 2;
    assert_eq!(policy[place], format!("tcp dport {{ 443 }} jump {named}"));
    assert_eq!(policy[place + 1], "goto refuse");
    let (granted, kept) = (
        granted_set(&scope_id(), &apis, Family::V4),
        kept_set(&scope_id(), &apis, Family::V4),
    );
    let keep = format!("update @{kept} {{ ip daddr timeout 5d }}");
    let chain = text(&named);
    let leaves = chain[1].split_once("goto ").unwrap().1;
    let open = format!("ip daddr @{kept} ct state established ct direction original");
    assert_eq!(
        chain[..4],
        [
            format!("ip daddr @{granted} {keep}"),
            format!("ip daddr @{granted} goto {leaves}"),
            format!("{open} {keep}"),
            format!("{open} goto {leaves}"),
        ]
    );
    assert_eq!(chain.len(), 8, "the other family has the same");
}

#[test]
fn no_answer_brings_an_address_of_the_cluster_or_of_special_use_in_any_form() {
    let judged = |lan: Access, texts: &[&'static str], wanted: bool| {
        let mut body = filtering(vec![rule("apis", &["*.example.org"])]);
        body.firewall[0].terms.lan = lan;
        body.firewall[0].terms.special_use_exceptions = vec![word("169.254.169.254/32")];
        let desired = desired(body);
        let entry = &desired.dns.entries[&word("10.244.1.2")];
        for text in texts {
            let found = desired.dns.may_bring(entry, &word(text));
            assert_eq!(found, wanted, "{text}, LAN {lan:?}");
        }
    };
    let refused = [
        "10.244.1.2",
        "10.96.0.10",
        "192.168.10.11",
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "100.100.100.200",
        "fd00:10:244:1::2",
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:203.0.113.7",
        "64:ff9b::7f00:1",
        "64:ff9b::af4:102",
        "64:ff9b:1::1",
        "2002:af4:102::1",
        "2002:7f00:1::1",
        "2001::1",
    ];
    judged(Access::Deny, &refused, false);
    judged(Access::Allow, &refused, false);
    let private = [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.77.1",
        "100.64.0.1",
        "fd00:77::1",
        "64:ff9b::a01:203",
    ];
    judged(Access::Deny, &private, false);
    judged(Access::Allow, &private, true);
    judged(
        Access::Deny,
        &["203.0.113.7", "2620:fe::9", "64:ff9b::808:808"],
        true,
    );
}

#[test]
fn who_filters_or_blocks_names_refuses_other_ways_to_resolve_them_before_any_rule() {
    let refused = |mode: TermsDnsMode| -> Vec<String> {
        let mut body = client();
        body.firewall[0].terms.dns.mode = mode;
        body.firewall[0].terms.default_action = Access::Allow;
        let ruleset = desired(body).ruleset;
        let rules = ruleset.inet.chains[&scope_chain(&scope_id())].rules.iter();
        let texts = rules.map(ToString::to_string);
        texts
            .filter(|text| text.contains("other_resolver"))
            .collect()
    };
    let wanted = [
        "meta l4proto { tcp, udp } th dport 853 counter name other_resolver goto refuse",
        "ip daddr @encrypted4 meta l4proto { tcp, udp } th dport 443 counter name other_resolver goto refuse",
        "ip6 daddr @encrypted6 meta l4proto { tcp, udp } th dport 443 counter name other_resolver goto refuse",
    ];
    for mode in [TermsDnsMode::Filter, TermsDnsMode::Block] {
        assert_eq!(refused(mode), wanted, "{mode:?}");
    }
    assert_eq!(refused(TermsDnsMode::Forward), [""; 0]);
}
