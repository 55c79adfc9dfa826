//! Records of decisions: what is told, and that it decides nothing.

use postern_intent::body::{
    Access, AdminAction, AdminPolicy, AdminRule, Body, Rule, TermsAudit, TermsDnsMode,
};
use postern_plan::Desired;
use postern_plan::desired::names::{RECORDED, scope_chain, way_chain};
use postern_plan::desired::{HostFacts, PacketLog, RecordGround, RecordStage};
use postern_plan::diff::flow::cuts;
use postern_plan::flow::Cuts;
use postern_plan::ruleset::{FirewallRule, Target};

use crate::fixture::{OwnedInputs, client, facts, scope_id, word};
use crate::packets::{Dice, Scene};

fn audited(mut body: Body, audit: TermsAudit, facts: HostFacts) -> (Desired, Body) {
    for scope in &mut body.firewall {
        scope.terms.audit = audit;
    }
    let inputs = OwnedInputs {
        facts,
        ..OwnedInputs::of(Some(body.clone()))
    };
    (Desired::from_inputs(&inputs.inputs()), body)
}

fn policy() -> Body {
    let mut body = client();
    let terms = &mut body.firewall[0].terms;
    let rule = |name: &str, action, to: &str| Rule {
        name: name.to_owned(),
        action,
        to: vec![word(to)],
        names: Vec::new(),
        ports: Vec::new(),
    };
    terms.rules = vec![
        rule("shop", Access::Allow, "203.0.113.7/32"),
        rule("tracker", Access::Deny, "203.0.113.0/24"),
    ];
    terms.default_action = Access::Deny;
    terms.lan = Access::Deny;
    terms.dns.mode = TermsDnsMode::Forward;
    body
}

/// The chains without what only records.
fn without_records(desired: &Desired) -> Vec<(&String, Vec<&FirewallRule>)> {
    let records = |rule: &&FirewallRule| !matches!(&rule.target, Target::Jump(chain) if chain.starts_with(RECORDED));
    let chains = desired.ruleset.inet.chains.iter();
    let chains = chains.filter(|(name, _)| !name.starts_with(RECORDED));
    chains
        .map(|(name, chain)| (name, chain.rules.iter().filter(records).collect()))
        .collect()
}

#[test]
fn a_ruleset_with_records_is_the_one_without_them_but_for_the_records() {
    let mut dice = Dice::new(11);
    for _ in 0..200 {
        let body = Scene::new(&mut dice).body().clone();
        let (plain, _) = audited(body.clone(), TermsAudit::None, facts());
        for audit in [TermsAudit::Denied, TermsAudit::All] {
            let (recording, body) = audited(body.clone(), audit, facts());
            assert_eq!(without_records(&plain), without_records(&recording));
            // A change of what is recorded ends no connection.
            let ended = cuts(&plain, &recording, Some(&body));
            assert_eq!(ended, Cuts::new());
        }
    }
}

#[test]
fn each_ground_of_a_refusal_is_recorded_under_a_name_of_its_own() {
    let (desired, _) = audited(policy(), TermsAudit::Denied, facts());
    let mut grounds: Vec<String> = desired
        .records
        .values()
        .map(|point| {
            assert_eq!(point.stage, RecordStage::Refused);
            match &point.ground {
                RecordGround::Rule(name) => format!("Rule {name}"),
                other => other.word().to_owned(),
            }
        })
        .collect();
    grounds.sort();
    let wanted = [
        "DefaultAction",
        "IntentExpired",
        "PrivateRange",
        "Rule tracker",
        "SpecialUse",
        "WayOut",
    ];
    assert_eq!(grounds, wanted);
    for name in desired.records.keys() {
        // The longest prefix that the kernel takes (`NF_LOG_PREFIXLEN`).
        assert!(name.len() < 128, "{name}");
        let chain = &desired.ruleset.inet.chains[name].rules;
        let texts: Vec<String> = chain.iter().map(ToString::to_string).collect();
        let log = format!("log prefix \"{name}\" group 20559 snaplen 96");
        let over = "limit rate over 100/second burst 200 packets counter name not_recorded return";
        assert_eq!(texts, [over, &log]);
    }
}

#[test]
fn what_an_administrator_decides_is_recorded_under_the_names_of_policy_and_rule() {
    let rule = |name: &str, action, to: &str| AdminRule {
        name: name.to_owned(),
        action,
        to: vec![word(to)],
        ports: Vec::new(),
    };
    let mut body = policy();
    body.firewall[0].terms.admin = vec![AdminPolicy {
        name: "company".to_owned(),
        generation: 1,
        priority: 0,
        rules: vec![
            rule("updates", AdminAction::Allow, "198.51.100.0/24"),
            rule("partners", AdminAction::Pass, "192.0.2.0/28"),
            rule("no-mail", AdminAction::Deny, "192.0.2.0/24"),
        ],
    }];
    let (desired, _) = audited(body, TermsAudit::All, facts());
    let points = desired.records.values();
    let points = points.filter_map(|point| match &point.ground {
        RecordGround::AdminRule(..) => Some((point.stage, point.ground.rule()?)),
        _ => None,
    });
    let mut found = Vec::from_iter(points.map(|(stage, rule)| format!("{stage:?} {rule}")));
    found.sort();
    let wanted = ["Chosen company/updates", "Refused company/no-mail"];
    assert_eq!(found, wanted);
}

#[test]
fn what_leaves_is_recorded_where_the_rule_lets_it_go_on_and_where_it_leaves_with_its_first_packet()
{
    let (desired, _) = audited(policy(), TermsAudit::All, facts());
    let stages = |stage| {
        let points = desired.records.iter();
        let points = points.filter(move |(_, point)| point.stage == stage);
        Vec::from_iter(points.map(|(name, point)| (name, &point.ground)))
    };
    let chosen = stages(RecordStage::Chosen);
    let [(shop, ground)] = &chosen[..] else {
        panic!("{chosen:?}");
    };
    assert_eq!(**ground, RecordGround::Rule("shop".to_owned()));
    let left = stages(RecordStage::Left);
    let [(left, _)] = &left[..] else {
        panic!("{left:?}");
    };
    let texts = |chain: String| -> Vec<String> {
        let rules = desired.ruleset.inet.chains[&chain].rules.iter();
        rules.map(ToString::to_string).collect()
    };
    let policy = texts(scope_chain(&scope_id()));
    let record = format!("ct status ! confirmed ip daddr {{ 203.0.113.7/32 }} jump {shop}");
    assert!(policy.contains(&record), "{policy:#?}");
    let way = texts(way_chain(&scope_id()));
    let last = [
        format!("ct status ! confirmed jump {left}"),
        "accept".to_owned(),
    ];
    assert!(way.ends_with(&last), "{way:#?}");
}

#[test]
fn a_kernel_without_nflog_gets_no_rule_that_it_would_refuse() {
    let missing = HostFacts {
        packet_log: PacketLog::Missing,
        ..facts()
    };
    let (desired, _) = audited(policy(), TermsAudit::All, missing);
    assert!(desired.records.is_empty());
    let rules = desired.ruleset.inet.chains.values();
    let mut texts = rules
        .flat_map(|chain| &chain.rules)
        .map(ToString::to_string);
    assert!(!texts.any(|text| text.contains(RECORDED) || text.contains("log ")));
}
