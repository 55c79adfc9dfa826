//! What is explained of a packet is what a model of the policy says that knows no nft.

use postern_intent::body::{
    Access, AdminAction, BlockedReason, Body, EgressPath, RuleProtocol, Scope, TermsDnsMode,
};
use postern_plan::Desired;
use postern_plan::desired::NotAsked;
use postern_plan::evaluate::{Grants, Packet, Transport};
use postern_plan::explain::{
    BoundPod, Cause, FirstPacket, LegEnd, NameAnswer, NodeModel, TunnelEntry,
};
use postern_plan::ruleset::{FirewallRule, Target};

use super::model::{
    Ground, exit_offers, is_clusters, is_inside, policy_decides, stays_on_the_link,
};
use super::{Dice, Scene};
use crate::fixture::{OwnedInputs, administrator, client, gateway, word};
use postern_host_testing::generate::{SELECTED, packet, seed};

fn pod() -> BoundPod {
    BoundPod {
        namespace: word("crawlers"),
        name: word("a"),
        uid: word("a-uid"),
        addresses: SELECTED.map(word).into(),
    }
}

/// The packet as a question, if one can be asked about it.
fn question(packet: &Packet) -> Option<FirstPacket> {
    let (protocol, port) = match packet.transport {
        Transport::Tcp { dport, .. } => (RuleProtocol::Tcp, dport),
        Transport::Udp { dport, .. } => (RuleProtocol::Udp, dport),
        Transport::Sctp { dport } => (RuleProtocol::Sctp, dport),
        Transport::Icmp("echo-request") => (RuleProtocol::Icmp, 0),
        Transport::Icmp(_) | Transport::Other(_) => return None,
    };
    Some(FirstPacket {
        source: packet.source,
        destination: packet.destination,
        protocol,
        port,
    })
}

/// Whether it arrives at the exit, and why, by the model.
fn expected(body: &Body, scope: &Scope, packet: &Packet) -> (bool, String) {
    if matches!(scope.way, EgressPath::Blocked { .. }) {
        return (false, "blocked".to_owned());
    }
    let (allowed, ground) = policy_decides(scope, &Grants::new(), packet);
    let served = body
        .nat
        .first()
        .filter(|_| scope.way == EgressPath::LocalExit);
    if allowed && served.is_some_and(|served| !exit_offers(body, served, &beginning(packet))) {
        return (false, "not offered".to_owned());
    }
    (allowed, format!("{ground:?}"))
}

/// An explanation is about the first packet of a connection.
fn beginning(packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    if let Transport::Tcp { syn, .. } = &mut packet.transport {
        *syn = true;
    }
    packet
}

fn told(scope: &Scope, cause: &Cause) -> String {
    match cause {
        Cause::AdminRule {
            policy,
            rule,
            action,
            ..
        } => {
            let admin = &scope.terms.admin;
            let place = admin.iter().position(|one| one.name == *policy).unwrap();
            let rules = &admin[place].rules;
            let position = rules.iter().position(|one| one.name == *rule).unwrap();
            assert_eq!(rules[position].action, *action);
            format!("{:?}", Ground::Admin(place, position))
        }
        Cause::PolicyRule { rule, action, .. } => {
            let rules = &scope.terms.rules;
            let position = rules.iter().position(|one| one.name == *rule).unwrap();
            assert_eq!(rules[position].action, *action);
            format!("{:?}", Ground::Rule(position))
        }
        Cause::DefaultAction { action, .. } => {
            assert_eq!(scope.terms.default_action, *action);
            format!("{:?}", Ground::Default)
        }
        Cause::SpecialUse { .. } => format!("{:?}", Ground::SpecialUse),
        Cause::OtherResolver => format!("{:?}", Ground::OtherResolver),
        Cause::Lan { .. } => format!("{:?}", Ground::Private),
        Cause::ScopeBlocked { .. } => "blocked".to_owned(),
        Cause::NotOffered { .. } => "not offered".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_cause_that_is_told_is_the_one_of_a_first_match_model() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (mut judged, mut left) = (0, 0);
    for _ in 0..200 {
        let scene = Scene::new(&mut dice);
        let (body, scope) = (scene.body(), &scene.body().firewall[0]);
        let model = NodeModel::new(body, Some(&pod()), body.issued_at);
        for _ in 0..500 {
            let mut sent = packet(&mut dice, &SELECTED);
            let Some(first) = question(&sent) else {
                continue;
            };
            sent.conntrack = Packet::new(sent.source, sent.destination, sent.transport).conntrack;
            let is_egress = |served: &postern_intent::body::ServedExit| {
                served.egress.contains(&sent.destination)
            };
            let not_judged = is_inside(body, &sent)
                || is_clusters(body, sent.destination)
                || stays_on_the_link(&sent)
                || body.nat.iter().any(is_egress)
                || sent.dport() == Some(53);
            if not_judged {
                continue;
            }
            let leg = model.from_pod(&first);
            let leaves = matches!(
                leg.end,
                LegEnd::Tunnel(_) | LegEnd::Exit { .. } | LegEnd::Uplink
            );
            let said = (leaves, told(scope, &leg.cause));
            let wanted = expected(body, scope, &sent);
            assert_eq!(
                said, wanted,
                "POSTERN_SEED={seed} {first:?} {leg:#?} {scope:#?}"
            );
            assert!(leg.deciding.is_some(), "{leg:#?}");
            judged += 1;
            left += usize::from(leaves);
        }
    }
    assert!(judged > 20_000 && left > judged / 50, "{left} of {judged}");
}

fn entry() -> TunnelEntry {
    TunnelEntry {
        exit: word("eu"),
        interface: word("pst-c-eu"),
        source: word("198.18.0.11"),
        gateways: vec![word("gw")],
    }
}

fn to(destination: &str) -> FirstPacket {
    FirstPacket {
        source: word(SELECTED[0]),
        destination: word(destination),
        protocol: RuleProtocol::Tcp,
        port: 443,
    }
}

#[test]
fn a_gateway_lets_out_what_the_exit_offers_with_the_address_of_the_exit() {
    let mut body = gateway(&["203.0.113.10"]);
    body.nat[0].routes = vec![word("198.51.100.0/24"), word("10.0.0.0/8")];
    let ends = |body: &Body, destination| {
        let model = NodeModel::new(body, None, body.issued_at);
        let leg = model.from_tunnel(&entry(), &to(destination));
        (leg.end, leg.cause.to_string())
    };
    let (end, why) = ends(&body, "198.51.100.9");
    let source = Some(word("203.0.113.10"));
    let exit = word("eu");
    assert_eq!(
        (end, &*why),
        (LegEnd::Exit { exit, source }, "exit eu offers the address")
    );
    for (destination, words) in [
        ("203.0.113.9", "none of its routes"),
        ("10.9.0.1", "lanAccess is Deny"),
        ("169.254.169.254", "special use"),
        ("192.168.10.21", "no address of the cluster"),
    ] {
        let (end, why) = ends(&body, destination);
        assert_eq!(end, LegEnd::Rejected, "{destination}: {why}");
        assert!(why.contains(words), "{destination}: {why}");
    }
    // The input hook of the gateway, and no rule of the exit, judges what is for the gateway itself.
    let (end, why) = ends(&body, "192.168.10.11");
    assert_eq!(
        (end, &*why),
        (LegEnd::Dropped, "the address is the node's own")
    );
    body.tunnels[0].peers.clear();
    let (end, why) = ends(&body, "198.51.100.9");
    assert_eq!(end, LegEnd::Dropped);
    assert!(why.contains("does not know the node of the pod"), "{why}");
    let (end, why) = ends(&client(), "198.51.100.9");
    assert_eq!(end, LegEnd::Dropped);
    assert!(why.contains("does not serve it"), "{why}");
}

#[test]
fn a_node_whose_intent_has_run_out_lets_nothing_out() {
    let body = client();
    for (now, leaves) in [(body.issued_at, true), (body.not_after, false)] {
        let leg = NodeModel::new(&body, Some(&pod()), now).from_pod(&to("198.51.100.9"));
        assert_eq!(matches!(leg.end, LegEnd::Tunnel(_)), leaves, "{leg:#?}");
        assert_eq!(leg.cause == Cause::Lease, !leaves, "{leg:#?}");
    }
}

/// What the forwarder does with a question that the pod sends to 9.9.9.9.
fn names(body: &Body, now: jiff::Timestamp) -> Option<NameAnswer> {
    let question = FirstPacket {
        protocol: RuleProtocol::Udp,
        port: 53,
        ..to("9.9.9.9")
    };
    match NodeModel::new(body, Some(&pod()), now)
        .from_pod(&question)
        .end
    {
        LegEnd::Forwarder { names, .. } => Some(names),
        _ => None,
    }
}

fn changed(mut body: Body, change: fn(&mut Body)) -> Option<NameAnswer> {
    change(&mut body);
    names(&body, body.issued_at)
}

fn by(resolver: &str) -> Option<NameAnswer> {
    Some(NameAnswer::Asked {
        exit: Some(word("eu")),
        resolvers: vec![word(resolver)],
    })
}

const fn nobody(reason: NotAsked) -> Option<NameAnswer> {
    Some(NameAnswer::NotAsked { reason })
}

#[test]
fn nobody_is_asked_for_a_name_once_the_intent_has_run_out() {
    let body = client();
    assert_eq!(names(&body, body.issued_at), by("9.9.9.9:53"));
    assert_eq!(names(&body, body.not_after), nobody(NotAsked::NoLease));
}

#[test]
fn a_resolver_of_a_family_in_which_the_exit_has_no_address_is_not_asked() {
    let one = changed(client(), |body| {
        body.tunnels[0].addresses = vec![word("198.18.0.11/32")];
        body.firewall[0].terms.dns.upstreams = vec![word("[2001:db8::53]:53")];
    });
    assert_eq!(one, nobody(NotAsked::NotReached));
    let two = changed(client(), |body| {
        body.tunnels[0].addresses = vec![word("198.18.0.11/32")];
        body.firewall[0].terms.dns.upstreams =
            vec![word("[2001:db8::53]:53"), word("203.0.113.53:53")];
    });
    assert_eq!(two, by("203.0.113.53:53"));
}

#[test]
fn a_gateway_asks_no_resolver_that_its_exit_does_not_offer() {
    assert_eq!(changed(gateway(&[]), |_| {}), by("9.9.9.9:53"));
    let narrow = changed(gateway(&[]), |body| {
        body.nat[0].routes = vec![word("198.51.100.0/24")];
    });
    assert_eq!(narrow, nobody(NotAsked::NotReached));
}

#[test]
fn a_name_is_asked_for_only_where_the_policy_lets_the_pod_and_there_is_an_exit() {
    let denied = changed(client(), |body| {
        body.firewall[0].terms.default_action = Access::Deny;
    });
    assert_eq!(denied, nobody(NotAsked::ResolverRefused));
    let silent = changed(client(), |body| {
        body.firewall[0].terms.dns.mode = TermsDnsMode::Block;
    });
    assert_eq!(silent, nobody(NotAsked::Refused));
    let administrators = |action, default| {
        let mut body = client();
        body.firewall[0].terms.default_action = default;
        body.firewall[0].terms.admin = vec![administrator("resolvers", action, &["9.9.9.0/24"])];
        names(&body, body.issued_at)
    };
    let refused = nobody(NotAsked::ResolverRefused);
    assert_eq!(administrators(AdminAction::Deny, Access::Allow), refused);
    assert_eq!(administrators(AdminAction::Pass, Access::Deny), refused);
    assert_eq!(
        administrators(AdminAction::Allow, Access::Deny),
        by("9.9.9.9:53")
    );
    let mut lost = client();
    lost.firewall[0].way = EgressPath::Blocked {
        reason: BlockedReason::NoExit,
    };
    assert_eq!(names(&lost, lost.not_after), nobody(NotAsked::NoExit));
}

/// A rule that refuses and says nothing would be explained by an earlier one.
#[test]
fn each_rule_that_refuses_says_what_it_stands_for() {
    let (mut seen, mut other) = (0, gateway(&["203.0.113.10"]));
    other.firewall[0].terms.lan = Access::Allow;
    let (mut uplink, mut blocked) = (client(), client());
    uplink.firewall[0].way = EgressPath::NodeUplink;
    blocked.firewall[0].way = EgressPath::Blocked {
        reason: BlockedReason::NoExit,
    };
    let mut governed = client();
    governed.firewall[0].terms.admin = vec![administrator("all", AdminAction::Deny, &[])];
    for body in [client(), gateway(&[]), other, uplink, blocked, governed] {
        let world = OwnedInputs::of(Some(body));
        let ruleset = Desired::from_inputs(&world.inputs()).ruleset;
        let refuses = |rule: &&FirewallRule| match &rule.target {
            Target::Goto(to) => to == "refuse",
            Target::Drop => true,
            _ => false,
        };
        for (name, chain) in &ruleset.inet.chains {
            for rule in chain.rules.iter().filter(refuses) {
                assert!(
                    rule.meaning.is_some() || rule.counter.is_some(),
                    "{name}: {rule}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}
