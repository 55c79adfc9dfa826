//! A node in memory whose links obey the acts of turns.

mod links;
mod model;
mod random;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use postern_crds::conditions::Reason;
use postern_crds::node_report::IsolationState;
use postern_host_testing::fixture::link;
use postern_intent::body::{Hotspot, Isolation, RadioRule, RemoteLinks};
use postern_plan::host::{AdminState, Carrier, ObservedLink};

use super::switch::{CARRIER_WAIT, PREPARE_WAIT, RETRY_AFTER};
use super::*;

struct Node {
    links: Vec<ObservedLink>,
    isolation: Isolation,
    memory: IsolationMemory,
    remote: BTreeMap<String, RemoteUse>,
    wireless: BTreeSet<String>,
    /// What the API server does when it is asked.
    answers: ConfirmAnswer,
    answer: ConfirmAnswer,
    now: Timestamp,
    /// Links that no act brings down.
    stuck: BTreeSet<String>,
    /// Links that do not get back what they lost.
    unrestorable: BTreeSet<String>,
    /// Links with nothing at their other end.
    unplugged: BTreeSet<String>,
    /// Acts in order, as `+name` and `-name`.
    done: Vec<String>,
}

fn section(digest: u8, preferred: &[&str]) -> Isolation {
    Isolation {
        policy: "one".to_owned(),
        digest: format!("{digest:016x}").parse().unwrap(),
        preferred: preferred.iter().map(ToString::to_string).collect(),
        exclude: Vec::new(),
        hotspot: None,
        radios: RadioRule::Blocked,
        confirm_within_seconds: 30,
        remote_links: RemoteLinks::Protected,
    }
}

impl Node {
    fn with(names: &[&str], preferred: &[&str]) -> Self {
        Self {
            links: names.iter().map(|name| link(1, name, "", None)).collect(),
            isolation: section(1, preferred),
            memory: IsolationMemory::default(),
            remote: BTreeMap::new(),
            wireless: BTreeSet::new(),
            answers: ConfirmAnswer::Answered,
            answer: ConfirmAnswer::Awaited,
            now: Timestamp::UNIX_EPOCH,
            stuck: BTreeSet::new(),
            unrestorable: BTreeSet::new(),
            unplugged: BTreeSet::new(),
            done: Vec::new(),
        }
    }

    fn link_mut(&mut self, name: &str) -> &mut ObservedLink {
        let mut links = self.links.iter_mut();
        links.find(|link| link.name == name).unwrap()
    }

    fn up(&self) -> BTreeSet<&str> {
        let up = self
            .links
            .iter()
            .filter(|link| link.state == AdminState::Up);
        up.map(|link| link.name.as_str()).collect()
    }

    fn set(&mut self, name: &str, state: AdminState) {
        let has_carrier = state == AdminState::Up && !self.unplugged.contains(name);
        let link = self.link_mut(name);
        link.state = state;
        link.carrier = match has_carrier {
            true => Carrier::Present,
            false => Carrier::Absent,
        };
    }

    fn turn(&self) -> IsolationTurn {
        turn(
            &self.memory,
            &IsolationInputs {
                isolation: &self.isolation,
                links: &self.links,
                wireless: &self.wireless,
                pod_links: &[],
                remote: &self.remote,
                answer: self.answer,
                now: self.now,
            },
        )
    }

    /// One turn is carried out, as the agent does it: the memory first, then the acts.
    fn carry_out(&mut self, turned: IsolationTurn) {
        let same = std::mem::discriminant(&turned.memory.phase)
            == std::mem::discriminant(&self.memory.phase);
        if !same {
            self.answer = ConfirmAnswer::Awaited;
        }
        self.memory = turned.memory;
        for act in turned.acts {
            match act {
                UplinkAct::Ask => self.answer = self.answers,
                UplinkAct::Restore(name) if self.unrestorable.contains(name.as_str()) => {}
                UplinkAct::Restore(name) => {
                    self.done.push(format!("*{name}"));
                    self.memory.taken.remove(name.as_str());
                }
                UplinkAct::SetDown(name) if self.stuck.contains(name.as_str()) => {
                    self.done.push(format!("?{name}"));
                }
                UplinkAct::SetDown(name) => {
                    self.done.push(format!("-{name}"));
                    self.set(name.as_str(), AdminState::Down);
                }
                UplinkAct::SetUp(name) => {
                    self.done.push(format!("+{name}"));
                    self.set(name.as_str(), AdminState::Up);
                }
            }
        }
    }

    /// Turns until nothing is left to do at this moment.
    fn settles(&mut self) -> IsolationFinding {
        for _ in 0..40 {
            let turned = self.turn();
            let is_done = |act: &UplinkAct| match act {
                UplinkAct::Ask => false,
                UplinkAct::Restore(name) => !self.unrestorable.contains(name.as_str()),
                UplinkAct::SetDown(_) | UplinkAct::SetUp(_) => true,
            };
            let acts = turned.acts.iter().any(is_done);
            let quiet = turned.memory == self.memory && !acts;
            let asks = turned.acts.contains(&UplinkAct::Ask) && self.answer != self.answers;
            let finding = turned.finding.clone();
            self.carry_out(turned);
            if quiet && !asks {
                return finding;
            }
        }
        panic!("no end: {:?} after {:?}", self.memory.phase, self.done);
    }

    /// The end of the isolation, as far as it goes now.
    fn goes_back(&mut self) -> Restoration {
        loop {
            let acts = match restore(&self.memory, &self.links) {
                Restoration::Acts(acts) => acts,
                end @ (Restoration::Done | Restoration::AwaitsCarrier) => return end,
            };
            for act in acts {
                match act {
                    UplinkAct::SetUp(name) => self.set(name.as_str(), AdminState::Up),
                    UplinkAct::SetDown(name) => self.set(name.as_str(), AdminState::Down),
                    UplinkAct::Ask => {}
                    UplinkAct::Restore(name) => {
                        self.memory.taken.remove(name.as_str());
                    }
                }
            }
        }
    }

    fn passes(&mut self, time: SignedDuration) -> IsolationFinding {
        self.now += time;
        self.settles()
    }

    fn order(&mut self, preferred: &[&str]) {
        let digest = u8::from_str_radix(&self.isolation.digest.to_string()[14..], 16).unwrap() + 1;
        self.isolation = Isolation {
            remote_links: self.isolation.remote_links,
            ..section(digest, preferred)
        };
    }
}

#[test]
fn the_others_go_down_before_the_target_comes_up_also_on_the_way_back() {
    let mut node = Node::with(&["eth0", "eth1", "eth2"], &["eth0"]);
    let found = node.settles();
    assert_eq!(found.state, IsolationState::Compliant, "{}", found.message);
    assert_eq!(node.done, ["-eth1", "-eth2"]);
    node.done.clear();
    node.order(&["eth1"]);
    node.answers = ConfirmAnswer::Answered;
    node.settles();
    assert_eq!(node.done, ["-eth0", "+eth1"]);
    // What answered before the switch does not answer after it.
    node.done.clear();
    node.order(&["eth2"]);
    for _ in 0..3 {
        let turned = node.turn();
        node.carry_out(turned);
    }
    node.answers = ConfirmAnswer::Silent;
    let waiting = node.settles();
    assert_eq!(waiting.state, IsolationState::Confirming);
    let found = node.passes(SignedDuration::from_secs(30));
    assert_eq!(found.state, IsolationState::RolledBack, "{}", found.message);
    assert_eq!(found.reason, Reason::SwitchRolledBack);
    assert_eq!(node.done, ["-eth1", "+eth2", "-eth2", "+eth1"]);
    assert_eq!(node.up(), ["eth1"].into());
}

#[test]
fn a_switch_that_nothing_answered_before_is_not_rolled_back_by_a_silence() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth1"]);
    node.answers = ConfirmAnswer::Silent;
    node.settles();
    assert_eq!(
        node.up(),
        ["eth0", "eth1"].into(),
        "it is asked for a while"
    );
    let found = node.passes(PREPARE_WAIT);
    assert_eq!(found.state, IsolationState::Compliant);
    assert_eq!(node.up(), ["eth1"].into());
    assert!(
        found.message.contains("nothing confirmed it"),
        "{}",
        found.message
    );
    node.answers = ConfirmAnswer::Answered;
    node.order(&["eth0"]);
    let found = node.settles();
    assert_eq!(found.message, "eth0 is up and no other uplink");
}

#[test]
fn a_session_that_is_open_still_does_not_hold_the_node_on_an_uplink_that_lost_its_carrier() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth0"]);
    node.settles();
    node.remote.insert("eth0".to_owned(), RemoteUse::Ssh);
    node.unplugged.insert("eth0".to_owned());
    node.link_mut("eth0").carrier = Carrier::Absent;
    node.settles();
    let found = node.passes(CARRIER_WAIT);
    assert_eq!(found.state, IsolationState::Compliant, "{}", found.message);
    assert_eq!(node.up(), ["eth1"].into());
}

#[test]
fn an_uplink_whose_carrier_came_back_is_protected_as_before() {
    let mut node = Node::with(&["eth0"], &["eth0"]);
    node.settles();
    node.link_mut("eth0").carrier = Carrier::Absent;
    node.settles();
    node.passes(CARRIER_WAIT);
    node.link_mut("eth0").carrier = Carrier::Present;
    node.settles();
    node.remote.insert("eth0".to_owned(), RemoteUse::Ssh);
    node.links.push(link(2, "eth1", "", None));
    let found = node.settles();
    assert_eq!(found.state, IsolationState::Compliant, "{}", found.message);
    assert_eq!(node.up(), ["eth0"].into(), "the newcomer goes down");
}

#[test]
fn a_node_without_the_uplink_that_it_chose_is_not_compliant() {
    let mut node = Node::with(&["eth0", "cni0"], &["eth0"]);
    assert_eq!(node.settles().state, IsolationState::Compliant);
    node.links.retain(|link| link.name != "eth0");
    let found = node.settles();
    assert_eq!(
        (found.state, found.reason),
        (IsolationState::Deviating, Reason::NoLink)
    );
}

#[test]
fn the_link_that_carries_a_session_is_not_cut_and_the_finding_names_it_for_as_long_as_it_does() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth1"]);
    node.remote.insert("eth0".to_owned(), RemoteUse::Ssh);
    for _ in 0..3 {
        let found = node.passes(SignedDuration::from_secs(3));
        assert_eq!(found.state, IsolationState::Held);
        assert_eq!(found.reason, Reason::RemoteLinkProtected);
        assert!(found.message.contains("eth0") && found.message.contains("SSH"));
        assert_eq!(found.guard, None, "what is not cut is not blocked either");
    }
    assert_eq!(node.done, [""; 0]);
    node.isolation.remote_links = RemoteLinks::Cut;
    node.isolation.digest = "00000000000000aa".parse().unwrap();
    assert_eq!(node.settles().state, IsolationState::Compliant);
    assert_eq!(node.up(), ["eth1"].into());

    // The same on a node that is isolated: the one in use stays in use, and guarded.
    node.remote = BTreeMap::from([("eth1".to_owned(), RemoteUse::ApiServer)]);
    node.isolation.remote_links = RemoteLinks::Protected;
    node.order(&["eth0"]);
    for _ in 0..3 {
        let found = node.passes(SignedDuration::from_secs(3));
        assert_eq!(found.state, IsolationState::Held);
        assert!(found.guard.unwrap().passes.contains("eth1"));
    }
    node.set("eth0", AdminState::Up);
    node.settles();
    assert_eq!(node.up(), ["eth1"].into(), "isolated all the same");
}

#[test]
fn a_wired_port_without_a_carrier_does_not_pin_the_node() {
    let mut node = Node::with(&["eth0", "wlan0"], &["eth0", "wlan*"]);
    node.unplugged.insert("eth0".to_owned());
    node.set("eth0", AdminState::Up);
    node.settles();
    assert_eq!(node.up(), ["wlan0"].into(), "seen without a carrier");

    // Down, it shows no carrier whatever is plugged in: it is tried, and left after a while.
    let mut node = Node::with(&["eth0", "wlan0"], &["eth0", "wlan*"]);
    node.unplugged.insert("eth0".to_owned());
    node.set("eth0", AdminState::Down);
    node.settles();
    assert_eq!(node.up(), ["eth0"].into());
    node.passes(CARRIER_WAIT);
    assert_eq!(node.up(), ["wlan0"].into());
    assert_eq!(node.done, ["-wlan0", "+eth0", "-eth0", "+wlan0"]);
    node.isolation.radios = RadioRule::Ignored;
    assert_eq!(node.settles().state, IsolationState::Compliant);
    node.passes(RETRY_AFTER + RETRY_AFTER);
    assert_eq!(node.up(), ["wlan0"].into(), "what works is kept");
}

#[test]
fn an_uplink_that_flaps_is_kept_and_one_that_is_gone_for_long_is_left() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth0"]);
    node.settles();
    let begun = node.done.len();
    for _ in 0..20 {
        node.link_mut("eth0").carrier = Carrier::Absent;
        node.passes(SignedDuration::from_secs(5));
        node.link_mut("eth0").carrier = Carrier::Present;
        node.passes(SignedDuration::from_secs(1));
    }
    assert_eq!(node.done.len(), begun, "{:?}", node.done);
    node.unplugged.insert("eth0".to_owned());
    node.link_mut("eth0").carrier = Carrier::Absent;
    node.settles();
    node.passes(CARRIER_WAIT);
    assert_eq!(node.up(), ["eth1"].into());
}

#[test]
fn the_pair_of_a_hotspot_is_up_until_its_time_and_no_third_one_at_its_start_and_end() {
    let mut node = Node::with(&["eth0", "wlan0", "wlan1"], &["eth0"]);
    node.isolation.radios = RadioRule::Ignored;
    node.settles();
    node.order(&["eth0"]);
    let ends = node.now + SignedDuration::from_hours(1);
    node.isolation.radios = RadioRule::Ignored;
    node.isolation.hotspot = Some(Hotspot {
        access_point: "wlan1".parse().unwrap(),
        upstream: "wlan0".parse().unwrap(),
        not_after: ends,
    });
    node.done.clear();
    let found = node.settles();
    assert_eq!(found.state, IsolationState::Compliant, "{}", found.message);
    assert_eq!(node.up(), ["wlan0", "wlan1"].into());
    assert_eq!(node.done[0], "-eth0");
    node.done.clear();
    node.set("eth0", AdminState::Up);
    node.settles();
    assert_eq!(node.up(), ["wlan0", "wlan1"].into());
    node.done.clear();
    let found = node.passes(SignedDuration::from_hours(1));
    assert_eq!(node.done, ["-wlan1"]);
    assert_eq!(found.state, IsolationState::Compliant);
    assert_eq!(node.up(), ["wlan0"].into());
}

#[test]
fn an_uplink_that_does_not_go_down_keeps_the_target_down_and_is_named() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth1"]);
    node.set("eth1", AdminState::Down);
    node.stuck.insert("eth0".to_owned());
    for _ in 0..10 {
        let turned = node.turn();
        node.carry_out(turned);
        node.now += SignedDuration::from_secs(3);
    }
    let found = node.turn().finding;
    assert_eq!(found.state, IsolationState::Switching);
    assert!(found.message.contains("eth0"), "{}", found.message);
    assert_eq!(node.up(), ["eth0"].into(), "the target stays down");
    assert!(node.done.iter().filter(|act| *act == "?eth0").count() > 3);
    node.stuck.clear();
    assert_eq!(node.settles().state, IsolationState::Compliant);
    assert_eq!(node.up(), ["eth1"].into());
}

#[test]
fn a_node_with_a_radio_that_is_not_blocked_is_never_compliant_unless_radios_are_ignored() {
    let mut node = Node::with(&["eth0", "wlan0"], &["eth0"]);
    node.wireless.insert("wlan0".to_owned());
    let found = node.settles();
    assert_eq!(found.state, IsolationState::Deviating);
    assert_eq!(found.reason, Reason::RadioNotBlocked);
    node.isolation.radios = RadioRule::Ignored;
    assert_eq!(node.settles().state, IsolationState::Compliant);
}

#[test]
fn a_new_order_in_a_switch_cuts_no_session_by_the_uplink_that_comes_up() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth0"]);
    node.settles();
    node.order(&["eth1"]);
    while !matches!(node.memory.phase, SwitchPhase::Raising { .. }) {
        let turned = node.turn();
        node.carry_out(turned);
    }
    let turned = node.turn();
    node.carry_out(turned);
    node.remote.insert("eth1".to_owned(), RemoteUse::Ssh);
    node.order(&["eth0"]);
    let found = node.settles();
    assert_eq!(found.state, IsolationState::Held, "{}", found.message);
    assert_eq!(node.up(), ["eth1"].into(), "the switch has gone on");
    node.remote.clear();
    assert_eq!(node.settles().state, IsolationState::Compliant);
    assert_eq!(node.up(), ["eth0"].into());
}
