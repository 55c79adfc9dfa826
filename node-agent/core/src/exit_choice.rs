//! Which gateway of an exit the node uses. The node decides by itself, by what its probes find and in the order that the
//! signed body gives: neither the operator nor the API server is asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_intent::body::{EgressPath, ExitFailback, ExitRoute};
use postern_intent::{Body, ExitName, NodeName};
use postern_plan::Observed;
use postern_plan::host::ObservedTunnel;

use crate::probe::GatewayReach;

/// How long an earlier gateway has to answer before the node returns to it.
const STEADY: Duration = Duration::from_secs(10);
/// How long a gateway is left alone behind which nothing answered. From here its echoes look well.
const DEAD_END: Duration = Duration::from_secs(60);

/// The gateway of each exit that the node uses.
pub type ExitChoices = BTreeMap<ExitName, ExitChoice>;

/// The gateway of one exit, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitChoice {
    /// The gateway in use.
    pub gateway: NodeName,
    /// The gateway that the body named first when the choice was made, and the person's choice behind it.
    first: FirstGateway,
    /// Gateways that were left because nothing behind them answered, and until when they are not used again.
    avoided: BTreeMap<NodeName, Instant>,
}

type FirstGateway = (NodeName, Option<String>);

impl ExitChoice {
    /// The choice that the kernel carries from before a restart, or the first gateway; none: the route names no gateway, or
    /// its device was not read.
    #[must_use]
    pub fn begin(route: &ExitRoute, body: &Body, observed: &Observed) -> Option<Self> {
        let first = route.gateways.first()?.node.clone();
        let device = observed.tunnels.get(&route.interface)?;
        Some(Self {
            gateway: carried(route, body, device).unwrap_or_else(|| first.clone()),
            first: (first, route.selection.clone()),
            avoided: BTreeMap::new(),
        })
    }

    /// The choice after what probes found:
    ///
    /// | the gateway in use | the others | next |
    /// |---|---|---|
    /// | is not named any more, or the body names another one first, or a person chose anew | any | the first that the body names, and then by the rows below |
    /// | does not answer | some answer | the first of these in the body's order; those behind which nothing answered last |
    /// | answers, and nothing behind it does | some answer, behind which it was not the same | the first of these |
    /// | either | no such one | as it was |
    /// | answers, or is not tested | an earlier one has answered for 10 s, and `failback` is `Automatic` | that one |
    /// | the same | else | as it was |
    ///
    /// The node itself always answers. A gateway whose targets did not answer is avoided for 60 s.
    #[must_use]
    pub fn next(
        &self,
        route: &ExitRoute,
        own: &NodeName,
        reach: impl Fn(&NodeName) -> GatewayReach,
        now: Instant,
    ) -> Self {
        let Some(first) = route.gateways.first().map(|gateway| &gateway.node) else {
            return self.clone();
        };
        let mut next = self.clone();
        let order = route.gateways.iter().map(|gateway| &gateway.node);
        let named_first = (first.clone(), route.selection.clone());
        if named_first != self.first || !order.clone().any(|node| *node == self.gateway) {
            next.gateway.clone_from(first);
            next.first = named_first;
        }
        next.avoided.retain(|_, until| *until > now);
        let found = match next.gateway == *own {
            true => GatewayReach::Untested,
            false => reach(&next.gateway),
        };
        if found == GatewayReach::DeadEnd {
            next.avoided.insert(next.gateway.clone(), now);
            // If no gateway of the exit reaches its targets, the targets are at fault: all entries are extended, so that the node
            // does not go round its gateways.
            next.avoided
                .values_mut()
                .for_each(|until| *until = now + DEAD_END);
        }
        let answers_for = |node: &NodeName| match reach(node) {
            _ if node == own => Some(Duration::MAX),
            GatewayReach::Answers { since } => Some(now.saturating_duration_since(since)),
            GatewayReach::Untested
            | GatewayReach::Late
            | GatewayReach::DeadEnd
            | GatewayReach::Silent => None,
        };
        let others = order.clone().filter(|node| **node != next.gateway);
        let mut answering = others.filter(|node| answers_for(node).is_some());
        let mut good = answering
            .clone()
            .filter(|node| !next.avoided.contains_key(*node));
        let chosen = match (found, route.failback) {
            // One behind which nothing answered is better than none that answers.
            (GatewayReach::Silent, _) => good.next().or_else(|| answering.next()),
            (GatewayReach::DeadEnd, _) => good.next(),
            (_, ExitFailback::Automatic) => {
                let earlier = order.take_while(|node| **node != next.gateway);
                let mut earlier = earlier.filter(|node| !next.avoided.contains_key(*node));
                earlier.find(|node| answers_for(node).is_some_and(|time| time >= STEADY))
            }
            (_, ExitFailback::Manual) => None,
        };
        if let Some(chosen) = chosen.cloned() {
            next.gateway = chosen;
        }
        next
    }
}

/// The gateway to which the kernel sends what leaves by the exit: the peer that has a range with more than one address, or
/// the node itself where none of the peers has one.
fn carried(route: &ExitRoute, body: &Body, device: &ObservedTunnel) -> Option<NodeName> {
    let mut seen = device.peers.iter().map(|seen| &seen.peer);
    let in_use = seen.find(|peer| {
        let mut allowed = peer.allowed_ips.iter();
        allowed.any(|prefix| prefix.net().prefix_len() < prefix.net().max_prefix_len())
    });
    let own = &body.node.name;
    let Some(in_use) = in_use else {
        let mut gateways = route.gateways.iter();
        let is_own = gateways.any(|gateway| gateway.node == *own);
        return (is_own && !device.peers.is_empty()).then(|| own.clone());
    };
    let mut tunnels = body.tunnels.iter();
    let tunnel = tunnels.find(|tunnel| tunnel.interface == route.interface)?;
    let mut peers = tunnel.peers.iter();
    let peer = peers.find(|peer| peer.public_key == in_use.public_key)?;
    let node = peer.at.node()?;
    let mut gateways = route.gateways.iter();
    gateways.find(|gateway| gateway.node == *node)?;
    Some(node.clone())
}

/// The body as this node carries it out: the gateway in use is the first of its exit, and where that is the node itself, its
/// pods leave by its own uplink.
#[must_use]
pub fn steer(body: &Body, choices: &ExitChoices) -> Body {
    let mut steered = body.clone();
    for route in &mut steered.routes {
        let choice = choices.get(&route.exit);
        let mut gateways = route.gateways.iter();
        let place = choice.and_then(|choice| gateways.position(|one| one.node == choice.gateway));
        if let Some(place) = place {
            let chosen = route.gateways.remove(place);
            route.gateways.insert(0, chosen);
        }
    }
    let local = steered.routes.iter().filter(|route| {
        let first = route.gateways.first();
        first.is_some_and(|gateway| gateway.node == steered.node.name)
    });
    let local: Vec<&ExitName> = local.map(|route| &route.exit).collect();
    for scope in &mut steered.firewall {
        if scope
            .tunnel_exit()
            .is_some_and(|exit| local.contains(&exit))
        {
            scope.way = EgressPath::LocalExit;
        }
    }
    steered
}

#[cfg(test)]
mod tests {
    use postern_host_testing::fixture::client;
    use postern_intent::WgKey;
    use postern_plan::host::{ObservedPeer, TunnelPeer};

    use super::*;

    const OWN: &str = "n1";

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn route(order: &[&str], failback: ExitFailback) -> ExitRoute {
        let mut route = client().routes.remove(0);
        let template = route.gateways.remove(0);
        route.gateways = order
            .iter()
            .map(|name| postern_intent::body::ExitGateway {
                node: node(name),
                ..template.clone()
            })
            .collect();
        route.failback = failback;
        route
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some moment to count from; the choice only compares moments"
    )]
    fn begin() -> Instant {
        Instant::now()
    }

    /// A reading of the device with peers that have these ranges; the gateway `gw` of the fixture has the key 7.
    fn reading(peers: &[(u8, &str)]) -> Observed {
        let peer = |(key, range): &(u8, &str)| ObservedPeer {
            peer: TunnelPeer {
                public_key: WgKey::from_bytes([*key; 32]).unwrap(),
                endpoint: None,
                allowed_ips: vec![range.parse().unwrap()],
                keepalive_seconds: None,
            },
            last_handshake: None,
            received: 0,
            sent: 0,
        };
        let tunnel = ObservedTunnel {
            interface: "pst-c-eu".parse().unwrap(),
            public_key: None,
            listen_port: 0,
            fwmark: 0,
            peers: peers.iter().map(peer).collect(),
        };
        Observed {
            tunnels: [(tunnel.interface.clone(), tunnel)].into(),
            ..Observed::default()
        }
    }

    #[test]
    fn a_restarted_agent_goes_on_with_the_gateway_that_the_kernel_carries() {
        let body = client();
        let begin = |order: &[&str], reading: &Observed| {
            let route = route(order, ExitFailback::Manual);
            ExitChoice::begin(&route, &body, reading).map(|choice| choice.gateway.to_string())
        };
        let carried = |order: &[&str], peers: &[(u8, &str)]| begin(order, &reading(peers)).unwrap();
        assert_eq!(carried(&["a", "gw"], &[(7, "0.0.0.0/0")]), "gw");
        assert_eq!(carried(&["a", "gw"], &[(7, "198.18.0.1/32")]), "a");
        assert_eq!(carried(&["a", OWN], &[(7, "198.18.0.1/32")]), OWN);
        assert_eq!(carried(&["a", OWN], &[]), "a", "nothing was configured yet");
        assert_eq!(
            begin(&["a", "gw"], &Observed::default()),
            None,
            "nothing was read"
        );
    }

    struct Case {
        choice: ExitChoice,
        route: ExitRoute,
        now: Instant,
    }

    impl Case {
        fn of(order: &[&str], failback: ExitFailback) -> Self {
            let route = route(order, failback);
            let choice = ExitChoice::begin(&route, &client(), &reading(&[])).unwrap();
            Self {
                choice,
                route,
                now: begin(),
            }
        }

        /// The gateway after this was found; `good` has answered since so many seconds.
        fn after(&mut self, found: &[(&str, GatewayReach)]) -> String {
            let reach = |name: &NodeName| {
                let mut found = found.iter();
                let found = found.find(|(of, _)| *of == name.as_str());
                found.map(|(_, reach)| *reach).unwrap_or_default()
            };
            self.choice = self.choice.next(&self.route, &node(OWN), reach, self.now);
            self.choice.gateway.to_string()
        }

        fn good(&self) -> GatewayReach {
            GatewayReach::Answers { since: self.now }
        }
    }

    use GatewayReach::{DeadEnd, Silent, Untested};

    #[test]
    fn a_silent_gateway_is_left_for_the_first_that_answers_and_for_none_that_does_not() {
        let mut case = Case::of(&["a", "b", "c"], ExitFailback::Manual);
        let good = case.good();
        assert_eq!(case.after(&[("a", Untested), ("b", good)]), "a");
        assert_eq!(
            case.after(&[("a", Silent), ("b", Untested), ("c", Silent)]),
            "a"
        );
        assert_eq!(
            case.after(&[("a", Silent), ("b", Silent), ("c", good)]),
            "c"
        );
        assert_eq!(
            case.after(&[("a", good), ("b", good), ("c", good)]),
            "c",
            "nobody said so"
        );
        assert_eq!(case.after(&[("a", good), ("b", good), ("c", Silent)]), "a");
    }

    #[test]
    fn traffic_returns_by_itself_only_where_it_may_and_after_ten_seconds() {
        for (failback, wanted) in [(ExitFailback::Manual, "b"), (ExitFailback::Automatic, "a")] {
            let mut case = Case::of(&["a", "b"], failback);
            let good = case.good();
            assert_eq!(case.after(&[("a", Silent), ("b", good)]), "b");
            case.now += STEADY - Duration::from_millis(1);
            assert_eq!(case.after(&[("a", good), ("b", good)]), "b");
            case.now += Duration::from_millis(1);
            assert_eq!(case.after(&[("a", good), ("b", good)]), wanted);
        }
    }

    #[test]
    fn a_gateway_with_a_dead_uplink_is_used_again_only_where_no_other_one_answers() {
        let mut case = Case::of(&["a", "b"], ExitFailback::Automatic);
        let good = case.good();
        assert_eq!(case.after(&[("a", DeadEnd), ("b", good)]), "b");
        assert_eq!(
            case.after(&[("a", good), ("b", DeadEnd)]),
            "b",
            "not to and fro"
        );
        case.now += DEAD_END - Duration::from_millis(1);
        assert_eq!(case.after(&[("a", good), ("b", DeadEnd)]), "b");
        case.now += DEAD_END - Duration::from_millis(1);
        assert_eq!(
            case.after(&[("a", good), ("b", DeadEnd)]),
            "b",
            "not each minute either"
        );
        case.now += STEADY;
        assert_eq!(
            case.after(&[("a", good), ("b", good)]),
            "b",
            "its echoes say nothing"
        );
        assert_eq!(case.after(&[("a", good), ("b", Silent)]), "a");
        let mut case = Case::of(&["a", "b"], ExitFailback::Automatic);
        assert_eq!(case.after(&[("a", DeadEnd), ("b", good)]), "b");
        case.now += DEAD_END;
        assert_eq!(
            case.after(&[("a", good), ("b", good)]),
            "a",
            "that was long ago"
        );
    }

    #[test]
    fn a_body_that_names_another_gateway_first_is_followed_and_one_that_adds_one_is_not() {
        let mut case = Case::of(&["a", "b"], ExitFailback::Manual);
        let good = case.good();
        assert_eq!(case.after(&[("a", Silent), ("b", good)]), "b");
        case.route = route(&["a", "b", "c"], ExitFailback::Manual);
        assert_eq!(case.after(&[("a", good), ("b", good)]), "b");
        case.route = route(&["c", "b", "a"], ExitFailback::Manual);
        assert_eq!(case.after(&[("b", good), ("c", Untested)]), "c");
        case.route = route(&["a", "b"], ExitFailback::Manual);
        assert_eq!(
            case.after(&[("a", Silent), ("b", good)]),
            "b",
            "the first one is known to be lost"
        );
        case.route.selection = Some("a 2026-11-29T20:00:00Z".to_owned());
        assert_eq!(
            case.after(&[("a", good), ("b", good)]),
            "a",
            "a person chose the same one anew"
        );
    }

    #[test]
    fn a_gateway_sends_its_own_pods_out_by_itself_when_it_is_its_turn() {
        let mut case = Case::of(&["a", OWN], ExitFailback::Manual);
        assert_eq!(case.after(&[("a", Silent)]), OWN);
        let mut body = client();
        body.routes = vec![case.route.clone()];
        let choices = [(case.route.exit.clone(), case.choice.clone())].into();
        let steered = steer(&body, &choices);
        assert_eq!(steered.firewall[0].way, EgressPath::LocalExit);
        assert_eq!(steered.routes[0].gateways[0].node, node(OWN));
        assert_eq!(steer(&body, &ExitChoices::new()), body);
    }
}
