//! The properties, each as a judgement of one packet, so that a ruleset with a bug can be judged too.

use postern_intent::body::{EgressPath, TermsEstablishedFlows};
use postern_plan::desired::names;
use postern_plan::evaluate::{Conntrack, CtDirection, CtState, Evaluator, Fate, Packet, PathEnd};
use postern_plan::host::Family;
use postern_plan::ruleset::{Counter, Hook, Ruleset};

use super::model::{
    administrators_refuse, exit_offers, is_allowed_reply, is_clusters, is_inside,
    is_refused_resolver, is_service_reply, over_limit, policy_allows, stays_on_the_link,
    would_refuse,
};
use super::{Dice, Scene};
use crate::fixture::word;
use postern_host_testing::generate::{BLOCKED, RELEASED, SELECTED, UNLISTED, packet, seed};

/// Packets that each property judges in one run, in all worlds together.
const PACKETS: usize = 340_000;
const PACKETS_OF_A_WORLD: usize = 2000;

/// What is wrong with what the ruleset does, if anything is.
pub(super) type Judgement = Result<(), String>;

/// The interface that the exit of the scene leaves by.
fn exit_device(scene: &Scene) -> Option<&'static str> {
    match &scene.body().firewall[0].way {
        EgressPath::Tunnel => Some("pst-c-eu"),
        EgressPath::LocalExit | EgressPath::NodeUplink => Some("eth0"),
        EgressPath::Blocked { .. } => None,
    }
}

fn evaluator<'a>(scene: &Scene, ruleset: &'a Ruleset) -> Evaluator<'a> {
    let mut evaluator = Evaluator::new(ruleset);
    evaluator.leases = scene.leases.iter().copied().collect();
    evaluator.grants.clone_from(&scene.grants);
    evaluator.kept.clone_from(&scene.kept);
    let addresses = [
        ("pst-c-eu", "198.18.0.11"),
        ("pst-c-eu", "fd64::11"),
        ("eth0", "192.168.10.11"),
        ("eth0", "2001:db8:10::11"),
    ];
    for (interface, address) in addresses {
        let address = word(address);
        let key = (interface.to_owned(), Family::of(&address));
        evaluator.addresses.insert(key, address);
    }
    evaluator
}

/// A closed scope, a blocked pod and an unknown one let nothing out but by the exit.
pub(super) fn nothing_leaves_but_by_the_exit(
    scene: &Scene,
    ruleset: &Ruleset,
    packet: &Packet,
) -> Judgement {
    let passage = evaluator(scene, ruleset).forwarded(packet);
    let PathEnd::Left { oif, source, .. } = &passage.end else {
        return Ok(());
    };
    // What leaves by the node's uplink has the node's address there, and never the pod's.
    let translated = scene.body().firewall[0].way != EgressPath::NodeUplink || source.is_some();
    let selected = SELECTED.contains(&packet.source.to_string().as_str());
    let (body, scope) = (scene.body(), &scene.body().firewall[0]);
    let lease = scene.leases.contains(&packet.family());
    let by_the_exit = selected && lease && translated && exit_device(scene) == Some(oif.as_str());
    let allowed = is_inside(body, packet)
        || stays_on_the_link(packet)
        || selected && lease && is_allowed_reply(body, scope, packet)
        || by_the_exit;
    if allowed {
        return Ok(());
    }
    Err(format!("{packet:?} left by {oif}: {:#?}", passage.traces))
}

/// What leaves by the exit is what the policy and, on the gateway, the exit allow: no more and no less.
pub(super) fn the_policy_means_what_it_says(
    scene: &Scene,
    ruleset: &Ruleset,
    packet: &Packet,
) -> Judgement {
    let (body, scope) = (scene.body(), &scene.body().firewall[0]);
    let is_first = packet.conntrack.state == CtState::New
        && packet.conntrack.direction == CtDirection::Original;
    let by_the_exit = exit_device(scene) == Some(packet.oif.as_str());
    let not_judged = is_inside(body, packet)
        || stays_on_the_link(packet)
        || body
            .cluster
            .service_ranges
            .iter()
            .any(|range| range.contains(&packet.destination))
        || packet.dport() == Some(53);
    if !is_first || !by_the_exit || not_judged {
        return Ok(());
    }
    let offered = scope.local_exit().is_none_or(|exit| {
        let served = body.nat.iter().find(|served| &served.exit == exit);
        served.is_some_and(|served| exit_offers(body, served, packet))
    });
    let allowed = scene.leases.contains(&packet.family())
        && policy_allows(scope, &scene.grants, packet)
        && offered;
    let over = over_limit(scope, packet).filter(|_| allowed);
    let wanted = allowed && over.is_none();
    let passage = evaluator(scene, ruleset).forwarded(packet);
    let counted = would_refuse(scope, &scene.grants, packet);
    let counted = counted.map(|rule| names::observed(&scope.id, rule));
    let denied = administrators_refuse(scope, packet);
    let denied = denied.map(|(policy, rule)| names::denied(&scope.id, policy, rule));
    // Other chains refuse addresses of tunnels before the guard.
    let is_judged =
        scene.leases.contains(&packet.family()) && !is_clusters(body, packet.destination);
    let counted = match (allowed, denied) {
        (true, _) => Some(Vec::from_iter(counted)),
        (false, Some(denied)) if is_judged => Some(vec![denied]),
        (false, _) => None,
    };
    let is_counted = counted.is_none_or(|counted| passage.rule_counters == counted);
    let mut limits = passage.counters.iter().map(|Counter(name)| *name);
    let dropped_by = limits.find(|name| name.starts_with("over_"));
    if passage.left() == wanted && is_counted && dropped_by == over {
        return Ok(());
    }
    let verb = if wanted { "does not leave" } else { "leaves" };
    Err(format!(
        "{packet:?} {verb}, {:?} {dropped_by:?}: {scope:#?} {:#?}",
        passage.rule_counters, passage.traces
    ))
}

/// What the guard lets out of a connection that the pod opened and that was answered is what the policy allows, with the
/// destinations that its names were granted once, and what it lets finish. Only the guard is asked, because translation sees first packets only.
pub(super) fn an_open_connection_goes_on_where_the_policy_says(
    scene: &Scene,
    ruleset: &Ruleset,
    packet: &Packet,
) -> Judgement {
    let (body, scope) = (scene.body(), &scene.body().firewall[0]);
    let mut packet = packet.clone();
    packet.conntrack.state = CtState::Established;
    packet.conntrack.direction = CtDirection::Original;
    let by_the_exit = exit_device(scene) == Some(packet.oif.as_str());
    let is_services = |range: &postern_intent::Prefix| range.contains(&packet.destination);
    let not_judged = is_inside(body, &packet)
        || stays_on_the_link(&packet)
        || body.cluster.service_ranges.iter().any(is_services);
    if !by_the_exit || not_judged {
        return Ok(());
    }
    let offered = scope.local_exit().is_none_or(|exit| {
        let served = body.nat.iter().find(|served| &served.exit == exit);
        served.is_some_and(|served| exit_offers(body, served, &packet))
    });
    let keeps = scope.terms.established_flows == TermsEstablishedFlows::Keep;
    let is_refused =
        is_refused_resolver(scope, &packet) || administrators_refuse(scope, &packet).is_some();
    let is_kept = keeps && !scene.kept.is_empty() && !is_refused;
    let wanted = scene.leases.contains(&packet.family())
        && (is_kept || policy_allows(scope, &scene.grants, &packet))
        && offered
        && over_limit(scope, &packet).is_none();
    let outcome = evaluator(scene, ruleset).hook(Hook::Forward, &mut packet.clone());
    match (outcome.fate == Fate::Passes) == wanted {
        true => Ok(()),
        false => Err(format!(
            "{packet:?} {wanted}: {scope:#?} {:#?}",
            outcome.traces
        )),
    }
}

/// No packet of a released pod is dropped, refused or redirected, in any conntrack state.
pub(super) fn a_released_pod_is_left_alone(
    scene: &Scene,
    ruleset: &Ruleset,
    packet: &Packet,
) -> Judgement {
    // Into a tunnel a released pod is never routed, because it has no mark of an exit; and a tunnel's own address is
    // Postern's own; it is no destination that a released pod had before.
    let tunnels = &scene.body().cluster.tunnel_ranges;
    if packet.oif.starts_with("pst-")
        || tunnels
            .iter()
            .any(|range| range.contains(&packet.destination))
    {
        return Ok(());
    }
    let passage = evaluator(scene, ruleset).forwarded(packet);
    match passage.end {
        PathEnd::Left { .. } => Ok(()),
        _ => Err(format!(
            "{packet:?} {:?}: {:#?}",
            passage.end, passage.traces
        )),
    }
}

type Property = fn(&Scene, &Ruleset, &Packet) -> Judgement;

fn holds_for_every_packet(property: Property, sources: &[&str]) {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let mut sampled = 0;
    for _ in 0..PACKETS / PACKETS_OF_A_WORLD {
        let scene = Scene::new(&mut dice);
        let ruleset = &scene.desired.ruleset;
        for _ in 0..PACKETS_OF_A_WORLD {
            let packet = packet(&mut dice, sources);
            let judged = property(&scene, ruleset, &packet);
            assert_eq!(judged, Ok(()), "POSTERN_SEED={seed}");
        }
        let some = (0..20).map(|_| packet(&mut dice, sources));
        let left = some.filter(|packet| evaluator(&scene, ruleset).forwarded(packet).left());
        sampled += left.count();
    }
    // A generator whose packets never leave, or always, would prove nothing.
    let worlds = PACKETS / PACKETS_OF_A_WORLD;
    assert!((worlds / 2..worlds * 19).contains(&sampled), "{sampled}");
}

#[test]
fn a_closed_scope_and_a_pod_without_one_let_nothing_out_but_by_the_exit() {
    let sources = [SELECTED, BLOCKED, UNLISTED].concat();
    holds_for_every_packet(nothing_leaves_but_by_the_exit, &sources);
}

#[test]
fn the_whole_policy_language_agrees_with_a_first_match_model() {
    holds_for_every_packet(the_policy_means_what_it_says, &SELECTED);
}

#[test]
fn an_open_connection_goes_on_where_the_policy_and_its_grants_let_it_and_nowhere_else() {
    holds_for_every_packet(an_open_connection_goes_on_where_the_policy_says, &SELECTED);
}

#[test]
fn a_pod_that_nobody_selects_loses_no_packet() {
    holds_for_every_packet(a_released_pod_is_left_alone, &RELEASED);
}

/// What a gateway forwards for its clients is what the exit offers, and leaves by the uplink.
#[test]
fn a_gateway_forwards_for_its_clients_what_the_exit_offers_and_nothing_else() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (mut judged, mut left) = (0, 0);
    while judged < 60_000 {
        let scene = Scene::new(&mut dice);
        let body = scene.body();
        let Some(served) = body.nat.first() else {
            continue;
        };
        let evaluator = evaluator(&scene, &scene.desired.ruleset);
        for _ in 0..500 {
            let mut packet = packet(&mut dice, &["198.18.0.11", "fd64::11"]);
            packet.iif = "pst-s-eu".to_owned();
            let is_first = packet.conntrack.state == CtState::New
                && packet.conntrack.direction == CtDirection::Original;
            if !is_first || stays_on_the_link(&packet) || packet.oif.starts_with("pst-") {
                continue;
            }
            let wanted = packet.oif == "eth0" && exit_offers(body, served, &packet);
            let passage = evaluator.forwarded(&packet);
            assert_eq!(
                passage.left(),
                wanted,
                "POSTERN_SEED={seed} {packet:?} {passage:#?}"
            );
            judged += 1;
            left += usize::from(wanted);
        }
    }
    assert!(left > judged / 50, "{left} of {judged}");
}

/// A service's answer leaves a node whatever else the policy says, unless the policy refuses replies.
#[test]
fn an_answer_to_somebody_who_came_in_by_a_service_leaves_where_the_policy_lets_it() {
    let mut dice = Dice::new(seed());
    let mut answers = 0;
    for _ in 0..200 {
        let scene = Scene::new(&mut dice);
        for _ in 0..500 {
            let packet = packet(&mut dice, &SELECTED);
            let (body, scope) = (scene.body(), &scene.body().firewall[0]);
            if !is_service_reply(body, &packet) || packet.oif != "eth0" {
                continue;
            }
            if !is_allowed_reply(body, scope, &packet) || is_clusters(body, packet.destination) {
                continue;
            }
            let blocked = matches!(scope.way, EgressPath::Blocked { .. });
            if blocked || !scene.leases.contains(&packet.family()) {
                continue;
            }
            let ruleset = &scene.desired.ruleset;
            let passage = evaluator(&scene, ruleset).forwarded(&packet);
            assert!(
                passage.left() || packet.dport() == Some(53),
                "{packet:?} {passage:#?}"
            );
            answers += 1;
        }
    }
    assert!(answers > 20, "{answers}");
}

/// An API server that is no Node calls pods, and is answered whatever their policies say.
#[test]
fn an_answer_to_an_api_server_that_is_no_node_leaves_from_every_pod() {
    let mut dice = Dice::new(seed());
    let sources = [SELECTED, BLOCKED, UNLISTED, RELEASED].concat();
    let mut answers = 0;
    for _ in 0..200 {
        let scene = Scene::new(&mut dice);
        let servers = &scene.body().cluster.api_servers;
        for client in servers.iter().map(|server| server.ip()) {
            let sampled = (0..100).map(|_| packet(&mut dice, &sources));
            for mut packet in sampled.filter(|packet| Family::of(&client) == packet.family()) {
                packet.destination = client;
                packet.oif = "eth0".to_owned();
                packet.conntrack = Conntrack {
                    state: CtState::Established,
                    direction: CtDirection::Reply,
                    dnat: false,
                    confirmed: true,
                    original_source: client,
                    original_destination: packet.source,
                };
                let passage = evaluator(&scene, &scene.desired.ruleset).forwarded(&packet);
                assert!(passage.left(), "{packet:?} {passage:#?}");
                answers += 1;
            }
        }
    }
    assert!(answers > 2000, "{answers}");
}
