//! The content of a report, as tables: no host and no fake is needed.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test, also in its helpers, a value that is not there is a failure; a signature needs a moment"
)]

use postern_host_testing::fixture;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::Timestamp;
use postern_agent_core::egress::EgressFindings;
use postern_agent_core::report::{
    FailedStep, GuardMeans, InForce, LedgerState, NodeRelease, NodeSetup, PluginUse, ReportInputs,
    ReportTime, ReportedRun, StartDamage,
};
use postern_agent_core::scope_reading::LeaseReading;
use postern_agent_core::session_health::SessionHealths;
use postern_agent_core::tunnel_health::TunnelHealths;
use postern_agent_core::{
    Carried, GatewayAnswer, PartialReading, ProbeAnswer, ProbeResults, ReadBack, ScopeStatus,
    UnreadPart,
};
use postern_crds::conditions::{ConditionStatus, ConditionType, Reason};
use postern_crds::node_report::{AddressFamily, PathHop, ResolverState};
use postern_intent::sign::{sign_cluster, sign_intent};
use postern_intent::verify::{VerifyContext, join, verify_cluster, verify_intent};
use postern_intent::{Body, ScopeId, Serial, TrustedKeys, Verified, WgKey};
use postern_plan::Desired;
use postern_plan::desired::{HostFacts, NodeClaim};
use postern_plan::diff::learned::Learned;
use postern_plan::flow::Cuts;
use postern_plan::host::{Family, ObservedLink, TunnelBackend, TunnelLink};
use postern_plan::observed::{ObservedFirewall, ObservedTable};
use postern_plan::order::{ArpTables, PlanContext, Stage, TableChange};
use postern_plan::settings::SecondLock;

use postern_host_testing::fixture::{OwnedInputs, client};

/// What a report borrows.
struct Case {
    world: OwnedInputs,
    keys: TrustedKeys,
    refusals: VecDeque<postern_agent_core::report::RefusalEntry>,
    owed_cuts: Cuts,
    tunnels: TunnelHealths,
    sessions: SessionHealths,
    probes: ProbeResults,
    counters: BTreeMap<String, u64>,
    egress: EgressFindings,
    open_resolvers: BTreeMap<ScopeId, BTreeSet<SocketAddr>>,
    facts: HostFacts,
    wireguard_key: WgKey,
    failures: Vec<FailedStep>,
    damages: Vec<StartDamage>,
    read_back: Option<ReadBack>,
}

fn signer() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn verified(serial: u64) -> Arc<Verified<Body>> {
    let mut body = client();
    body.serial = Serial(serial);
    verified_body(&body)
}

fn verified_body(body: &Body) -> Arc<Verified<Body>> {
    let (document, cluster) = body.clone().documents();
    let key = signer().verifying_key();
    let pem = key.to_public_key_pem(LineEnding::LF).unwrap();
    let (keys, now) = (
        &TrustedKeys::installed([pem.as_str()]).unwrap(),
        document.issued_at,
    );
    let context = VerifyContext {
        node: &document.node,
        keys,
        now,
        last: None,
    };
    let envelope = sign_intent(&document, &[signer()]).unwrap();
    let intent = verify_intent(&envelope, &context).unwrap();
    let envelope = sign_cluster(&cluster, &[signer()]).unwrap();
    let cluster = verify_cluster(&envelope, keys, now, None).unwrap();
    Arc::new(join(&intent, Some(&cluster)).unwrap())
}

/// A body whose plan asks for two empty tables, so that a reading of them agrees with it.
fn carried(serial: u64) -> Carried {
    unsteered(verified(serial), Desired::default())
}

/// A body whose exits use the gateways that it names first.
fn unsteered(body: Arc<Verified<Body>>, desired: Desired) -> Carried {
    Carried {
        steered: Some(Arc::new(body.get().clone())),
        body: Some(body),
        desired: Arc::new(desired),
    }
}

fn read(wanted: &Carried, former: Option<&Carried>, reading: PartialReading) -> ReadBack {
    let planning = PlanContext {
        tables: TableChange::Edited,
        arp: ArpTables::Supported,
        learned: &Learned::default(),
        own_key: &WgKey::from_bytes([9; 32]).unwrap(),
    };
    ReadBack::new(wanted, former, reading, &planning)
}

/// Our tables are there, and nothing else is.
fn whole() -> PartialReading {
    let mut reading = PartialReading::default();
    reading.observed.firewall = ObservedFirewall {
        inet: Some(ObservedTable::default()),
        bridge: Some(ObservedTable::default()),
        arp: Some(ObservedTable::default()),
    };
    reading
}

fn unread(stage: Stage) -> PartialReading {
    PartialReading {
        gaps: [stage].into(),
        unread: vec![UnreadPart {
            stage,
            message: "it could not be read".to_owned(),
        }],
        ..whole()
    }
}

impl Case {
    fn new(read_back: Option<ReadBack>) -> Self {
        Self {
            world: OwnedInputs::of(Some(client())),
            keys: TrustedKeys::default(),
            refusals: VecDeque::new(),
            owed_cuts: Cuts::new(),
            tunnels: TunnelHealths::default(),
            sessions: SessionHealths::default(),
            probes: ProbeResults::default(),
            counters: BTreeMap::new(),
            egress: EgressFindings {
                there: Some(Default::default()),
                ..EgressFindings::default()
            },
            open_resolvers: BTreeMap::new(),
            facts: fixture::facts(),
            wireguard_key: WgKey::from_bytes([9; 32]).unwrap(),
            failures: Vec::new(),
            damages: Vec::new(),
            read_back,
        }
    }

    fn sealed() -> Self {
        Self::new(Some(read(&carried(1), None, whole())))
    }

    fn inputs(&self) -> ReportInputs<'_> {
        let now = client().issued_at;
        ReportInputs {
            in_force: InForce {
                body: self.world.body.as_ref(),
                claim: NodeClaim::Claimed,
                release: NodeRelease::Guarded,
                ledger: LedgerState::Kept,
                serial: Serial(1),
                cluster_serial: Serial(1),
                keys: &self.keys,
                key_difference: None,
                bindings: &self.world.bindings,
                standing_refusal: None,
                refusals: &self.refusals,
            },
            read_back: self.read_back.as_ref(),
            run: ReportedRun {
                failures: self.failures.clone(),
                owed_cuts: &self.owed_cuts,
                verified_at: Some(now),
                tunnels: &self.tunnels,
                sessions: &self.sessions,
                session_faults: BTreeMap::new(),
                probes: &self.probes,
                scopes: BTreeMap::new(),
                lease: LeaseReading::Stands,
                bypasses: BTreeMap::new(),
                isolation: None,
                egress: &self.egress,
                open_resolvers: self.open_resolvers.clone(),
                counters: self.counters.clone(),
            },
            setup: NodeSetup {
                facts: &self.facts,
                plugin: PluginUse::Expected,
                second_lock: SecondLock::On,
                no_lock: None,
                guard: GuardMeans::Present,
                kernel: "6.12".to_owned(),
                wireguard_key: &self.wireguard_key,
                key_proofs: Vec::new(),
                credentials_key: &self.wireguard_key,
                credentials_proofs: Vec::new(),
                damages: &self.damages,
                preflight: Some(&[]),
            },
            time: ReportTime { now, wall: now },
        }
    }

    fn condition(&self, kind: ConditionType) -> (ConditionStatus, Reason) {
        let findings = self.inputs().findings();
        let found = findings.iter().find(|finding| finding.kind == kind);
        let found = found.unwrap();
        (found.state, found.reason)
    }
}

fn failed(stage: Stage) -> FailedStep {
    FailedStep {
        stage,
        step: "a step".to_owned(),
        message: "it was refused".to_owned(),
    }
}

use ConditionStatus::{False, True, Unknown};
use ConditionType::{
    FailClosed, Programmed, SecondLock as Lock, SourceBinding, Verified as Agrees,
};
use Reason as R;

#[test]
fn a_body_that_was_accepted_and_not_read_back_is_not_called_applied() {
    let mut case = Case::sealed();
    case.world.body.as_mut().unwrap().serial = Serial(2);
    let status = case.inputs().status();
    assert_eq!(status.applied_serial, Some(1));
    assert_eq!(status.applied_digest.as_deref(), Some(verified(1).digest()));
    case.read_back = None;
    let status = case.inputs().status();
    assert_eq!((status.applied_serial, status.applied_pods), (None, None));
    assert_eq!(case.condition(FailClosed), (False, R::NotSealed));
    assert_eq!(case.condition(Agrees), (False, R::Mismatch));
}

/// Another node begins the session when this one reports a later serial.
#[test]
fn a_node_whose_former_session_is_there_still_does_not_report_the_body_without_it_as_applied() {
    let mut reading = whole();
    reading.observed.links = vec![fixture::link(9, "pst-x-eu", "tun", None)];
    let mut case = Case::sealed();
    assert_eq!(case.inputs().status().applied_serial, Some(1));
    let wanted = unsteered(verified(1), Desired::from_inputs(&case.world.inputs()));
    case.read_back = Some(read(&wanted, None, reading));
    assert_eq!(case.inputs().status().applied_serial, None);
}

#[test]
fn a_refused_change_reports_the_former_body_and_only_while_its_guard_stands() {
    let former = carried(1);
    let world = OwnedInputs::of(Some(client()));
    let wanted = unsteered(verified(2), Desired::from_inputs(&world.inputs()));
    let stands = read(&wanted, Some(&former), whole());
    let mut case = Case::new(Some(stands));
    case.failures = vec![failed(Stage::Guard)];
    assert_eq!(case.inputs().status().applied_serial, Some(1));
    assert_eq!(case.condition(FailClosed), (True, R::Sealed));
    assert_eq!(case.condition(Programmed), (False, R::TransactionFailed));
    for gone in [
        read(&wanted, None, whole()),
        read(&wanted, Some(&former), unread(Stage::Guard)),
    ] {
        case.read_back = Some(gone);
        assert_eq!(case.inputs().status().applied_serial, None);
        assert_eq!(case.condition(FailClosed), (False, R::NoGuard));
    }
}

#[test]
fn an_unread_part_is_told_by_the_conditions_that_depend_on_it_and_by_no_other() {
    for (stage, wrong) in [
        (Stage::Route, None),
        (Stage::Link, None),
        (Stage::Lock, Some((Lock, R::NoSecondLock))),
        (Stage::Guard, Some((FailClosed, R::NotSealed))),
    ] {
        let case = Case::new(Some(read(&carried(1), None, unread(stage))));
        let programmed = match stage {
            // A guard that was not read is written whole, which is a change that is not confirmed.
            Stage::Guard => (False, R::Converging),
            _ => (Unknown, R::Mismatch),
        };
        assert_eq!(case.condition(Programmed), programmed, "{stage:?}");
        assert_eq!(case.condition(Agrees), (False, R::Mismatch), "{stage:?}");
        for kind in [FailClosed, Lock] {
            let wanted = match wrong {
                Some((at, reason)) if at == kind => (False, reason),
                _ if kind == Lock => (False, R::RangesUnknown),
                _ => (True, R::Sealed),
            };
            assert_eq!(case.condition(kind), wanted, "{stage:?}");
        }
    }
}

#[test]
fn a_failed_step_has_the_reason_of_its_stage_and_takes_nothing_from_a_guard_that_was_read_back() {
    for (stage, reason) in [
        (Stage::Guard, R::TransactionFailed),
        (Stage::Lock, R::TransactionFailed),
        (Stage::Link, R::NoTunnel),
        (Stage::Tunnel, R::NoTunnel),
        (Stage::Route, R::ApplyFailed),
        (Stage::Release, R::TransactionFailed),
        (Stage::Arp, R::TransactionFailed),
    ] {
        let mut case = Case::sealed();
        case.failures = vec![failed(stage)];
        assert_eq!(case.condition(Programmed), (False, reason), "{stage:?}");
        assert_eq!(case.condition(FailClosed), (True, R::Sealed), "{stage:?}");
    }
}

#[test]
fn what_is_damaged_at_the_start_makes_its_own_condition_false_and_no_other() {
    let mut case = Case::sealed();
    assert_eq!(case.condition(SourceBinding), (True, R::Bound));
    case.damages = vec![StartDamage {
        condition: SourceBinding,
        reason: R::Unbound,
        message: "bindings.json holds no JSON".to_owned(),
    }];
    assert_eq!(case.condition(SourceBinding), (False, R::Unbound));
    assert_eq!(case.condition(FailClosed), (True, R::Sealed));
    assert_eq!(case.condition(Programmed), (True, R::Programmed));
}

#[test]
fn of_several_damages_of_one_condition_none_is_left_untold() {
    let mut case = Case::sealed();
    let damage = |reason, message: &str| StartDamage {
        condition: Programmed,
        reason,
        message: message.to_owned(),
    };
    case.damages = vec![
        damage(R::NotDurable, "cannot make the folder /run/postern"),
        damage(R::ApplyFailed, "cannot open the audit log /var/log/x"),
    ];
    let findings = case.inputs().findings();
    let found = findings.iter().find(|one| one.kind == Programmed).unwrap();
    assert_eq!((found.state, found.reason), (False, R::NotDurable));
    let told = "cannot make the folder /run/postern; cannot open the audit log /var/log/x";
    assert_eq!(found.message, told);
}

#[test]
fn a_released_node_is_called_so_only_when_nothing_was_left() {
    let mut case = Case::new(None);
    let released = |case: &Case| {
        let mut inputs = case.inputs();
        inputs.in_force.release = NodeRelease::Released;
        inputs.status().released
    };
    assert!(released(&case));
    case.failures = vec![failed(Stage::Release)];
    assert!(!released(&case));
    assert!(!case.inputs().status().released, "nobody released it");
}

#[test]
fn a_handshake_is_fresh_by_the_wall_clock_that_stamped_it() {
    let case = Case::sealed();
    let inputs = ReportInputs {
        time: ReportTime {
            now: Timestamp::UNIX_EPOCH,
            wall: client().issued_at,
        },
        ..case.inputs()
    };
    let exits = inputs.status().exits;
    assert!(exits.iter().all(|exit| !exit.healthy), "nothing was heard");
}

/// A read-back of a body's tunnel whose device has another MTU than the body asks for.
fn with_mtu(body: &Body, mtu: u32) -> ReadBack {
    let tunnel = &body.tunnels[0];
    let link = TunnelLink {
        name: tunnel.interface.clone(),
        mtu: u32::from(tunnel.mtu),
        backend: TunnelBackend::Userspace,
    };
    let desired = Desired {
        links: [link].into(),
        ..Desired::default()
    };
    let wanted = unsteered(verified_body(body), desired);
    let mut reading = whole();
    let device = fixture::link(9, tunnel.interface.as_str(), "tun", None);
    reading.observed.links = vec![ObservedLink { mtu, ..device }];
    read(&wanted, None, reading)
}

#[test]
fn an_exit_is_reported_with_the_mtu_that_its_device_has_and_another_one_is_a_mismatch() {
    for (body, served) in [(client(), false), (fixture::gateway(&[]), true)] {
        let said = |mtu: u32| {
            let mut case = Case::new(Some(with_mtu(&body, mtu)));
            case.world.body = Some(body.clone());
            let status = case.inputs().status();
            let found = match served {
                false => status
                    .exits
                    .first()
                    .map(|exit| (exit.mtu, exit.digest.is_some())),
                true => status
                    .served
                    .first()
                    .map(|exit| (exit.mtu, exit.digest.is_some())),
            };
            let mismatches = status.mismatches.into_iter();
            let mismatches: Vec<String> = mismatches.map(|one| one.message).collect();
            (found.unwrap(), mismatches, case.condition(Agrees))
        };
        let (found, mismatches, agrees) = said(1420);
        assert_eq!(found, (Some(1420), true), "{body:?}");
        assert_eq!((mismatches, agrees), (Vec::new(), (True, R::Verified)));
        let (found, mismatches, agrees) = said(1300);
        assert_eq!(found, (Some(1300), false), "its digest is not claimed");
        let wanted = format!("set mtu of {} to 1420", body.tunnels[0].interface);
        assert_eq!((mismatches, agrees), (vec![wanted], (False, R::Mismatch)));
    }
}

#[test]
fn a_scope_names_the_resolvers_that_are_left_alone_and_is_without_one_when_all_are() {
    let mut case = Case::sealed();
    let mut body = client();
    let two = ["203.0.113.53:53", "203.0.113.54:53"].map(|text| text.parse().unwrap());
    body.firewall[0].terms.dns.upstreams = two.into();
    let scope = body.firewall[0].id.clone();
    let wanted = unsteered(verified_body(&body), Desired::default());
    case.read_back = Some(read(&wanted, None, whole()));
    for (open, wanted) in [
        (&two[..0], ResolverState::Untested),
        (&two[..1], ResolverState::Untested),
        (&two[..], ResolverState::Silent),
    ] {
        case.open_resolvers = [(scope.clone(), open.iter().copied().collect())].into();
        let mut inputs = case.inputs();
        inputs.run.scopes = [(scope.clone(), ScopeStatus::Enforcing)].into();
        let told = inputs.status().scopes.remove(0);
        let named: Vec<String> = open.iter().map(|one| one.ip().to_string()).collect();
        assert_eq!((told.resolvers, told.silent_resolvers), (wanted, named));
    }
}

#[test]
fn resolvers_that_policies_name_judge_an_exit_where_the_nodes_own_are_not_asked() {
    let [named, own]: [SocketAddr; 2] =
        ["203.0.113.53:53", "203.0.113.54:53"].map(|text| text.parse().unwrap());
    let mut case = Case::sealed();
    let exit = client().routes[0].exit.clone();
    let gateway = client().routes[0].gateways[0].node.clone();
    let answers = Family::BOTH.map(|family| (family, ProbeAnswer::Answers));
    let found = GatewayAnswer {
        families: answers.into(),
        ..GatewayAnswer::default()
    };
    case.probes.gateways.insert((exit.clone(), gateway), found);
    case.probes.own_resolvers = vec![own];
    let hop = |case: &Case| {
        let mut paths = case.inputs().status().exits.remove(0).paths.into_iter();
        let four = paths.find(|path| path.family == AddressFamily::IPv4);
        four.unwrap().hop
    };
    let silent = ProbeAnswer::Silent;
    case.probes.resolvers.insert((exit.clone(), named), silent);
    assert_eq!(hop(&case), Some(PathHop::Forward));
    // Where the own one is asked too, the named one may be wrong for its policy alone.
    for (answer, wanted) in [
        (ProbeAnswer::Answers, None),
        (silent, Some(PathHop::Forward)),
    ] {
        case.probes.resolvers.insert((exit.clone(), own), answer);
        assert_eq!(hop(&case), wanted);
    }
}
