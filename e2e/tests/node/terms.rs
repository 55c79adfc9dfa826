//! The policy language with packets: each field that is honoured lets through what it names, and nothing else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use postern_e2e::lab::topology::{HOST4, HOST6};
use postern_e2e::lab::{Exec, PodOptions, PodRecord, TrafficPolicy, UpOptions};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, exit, wait_until};
use postern_intent::body::Access;
use serde_json::Value;

use crate::holes::{Talk, WEB, ask, both, lab_program, serving};

const NODE: &str = "n1";
pub(crate) const GATEWAY: &str = "gw-1";
/// Where clouds serve metadata: special use.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The policy `crawlers/crawler` with these lines of its spec.
pub(crate) fn policy(lines: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{namespace: crawlers, name: crawler}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: crawler}}}}\n  route: {{type: Exit, exitNodes: [{{name: eu}}]}}\n  {lines}\n---\n"
    )
}

/// A lab with a selected pod that serves, and what is asked in it.
pub(crate) struct Scene {
    pub(crate) lab: TestLab,
    pub(crate) web: PodRecord,
    pub(crate) gateway: [IpAddr; 2],
}

impl Scene {
    pub(crate) fn up() -> Self {
        let lab = TestLab::up(&UpOptions {
            nodes: 2,
            ..UpOptions::default()
        })
        .unwrap();
        let gateway = lab.node(GATEWAY).unwrap().addresses();
        let further = "\n  lanAccess: Allow";
        lab.apply_yaml(&(exit("eu", GATEWAY, further) + &policy("defaultAction: Allow")))
            .unwrap();
        let web = serving(&lab, "crawlers/web", PodOptions::on(NODE));
        let scene = Self { lab, web, gateway };
        scene.answers("by the exit", own(&scene.web, 7), "tcp");
        scene
    }

    pub(crate) fn apply(&self, lines: &str) {
        self.lab.apply_yaml(&policy(lines)).unwrap();
    }

    /// Waits until everything that was applied before is in force on both nodes: a change of the exit comes after it.
    fn compiled(&self, lan: Access) {
        let further = format!("\n  lanAccess: {lan:?}");
        self.lab.apply_yaml(&exit("eu", GATEWAY, &further)).unwrap();
        wait_until(WAIT_DEADLINE, "a body with the change of the exit", || {
            let body = self.lab.current_body(GATEWAY)?;
            let served = body.nat.first().map(|served| served.lan);
            Ok((served == Some(lan)).then_some(()))
        })
        .unwrap();
        self.in_force();
    }

    /// Waits until each node reports the intent that was published for it last.
    pub(crate) fn in_force(&self) {
        for node in [NODE, GATEWAY] {
            self.lab
                .await_report(node, "the last intent", |report| {
                    let envelope = self.lab.current_envelope(node).unwrap();
                    let cluster = self.lab.current_cluster(node).unwrap();
                    report["appliedDigest"] == envelope.digest().unwrap()
                        && report["appliedClusterSerial"] == cluster.serial.0
                })
                .unwrap();
        }
    }

    /// Waits until the policy's scope with these words among its terms is in force on both nodes.
    pub(crate) fn published(&self, words: &[&str]) {
        wait_until(WAIT_DEADLINE, "a body with the policy", || {
            let body = self.lab.current_body(NODE)?;
            let mut scopes = body.firewall.iter();
            let scope = scopes.find(|scope| scope.policy.name == "crawler");
            let terms = format!("{:?}", scope.map(|scope| &scope.terms));
            Ok(words.iter().all(|word| terms.contains(word)).then_some(()))
        })
        .unwrap();
        self.in_force();
    }

    fn ask(&self, to: SocketAddr, protocol: &str) -> Option<String> {
        ask(&self.lab, WEB, to, &["--protocol", protocol])
    }

    /// Both families are answered, and the other side sees the gateway.
    pub(crate) fn answers(&self, what: &str, to: [SocketAddr; 2], protocol: &str) {
        for (to, seen) in to.into_iter().zip(self.gateway) {
            self.settles(what, to, protocol, Some(&seen.to_string()));
        }
    }

    /// Nothing comes back in either family.
    pub(crate) fn refuses(&self, what: &str, to: [SocketAddr; 2], protocol: &str) {
        for to in to {
            self.settles(what, to, protocol, None);
        }
    }

    /// The answer becomes this, and stays for a second question: one answer alone may be late on a machine under load.
    pub(crate) fn settles(&self, what: &str, to: SocketAddr, protocol: &str, wanted: Option<&str>) {
        let mut last = [None, None];
        let found = wait_until(WAIT_DEADLINE, what, || {
            last = [self.ask(to, protocol), self.ask(to, protocol)];
            let settled = last.iter().all(|answer| answer.as_deref() == wanted);
            Ok(settled.then_some(()))
        });
        assert!(
            found.is_ok(),
            "{what}: {to} {protocol}: {last:?}, not {wanted:?}"
        );
        // An answer that comes late under load is none; any other one is wrong.
        let after = self.ask(to, protocol);
        let stays = after.is_none() || after.as_deref() == wanted;
        assert!(stays, "{what}: {to} {protocol}: {after:?}, not {wanted:?}");
    }

    /// The answer of the resolver at this address, or what it refuses with.
    fn resolves(&self, server: IpAddr) -> String {
        let (program, server) = (lab_program(), server.to_string());
        let args = [
            program.as_str(),
            "resolve",
            "--server",
            &server,
            "whoami.world.test",
        ];
        let output = self.lab.exec(WEB, &args).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn nothing_leaked(&self) {
        self.nothing_leaked_but(&[]);
    }

    /// Nothing left but by the exit, and to no address but the pod's own ones and these, which the case allowed for a while.
    pub(crate) fn nothing_leaked_but(&self, allowed: &[IpAddr]) {
        // The judge counts only bodies that a report names.
        self.in_force();
        let mut packets = self.lab.packets().unwrap();
        packets
            .unowned
            .retain(|of| !(of.node == GATEWAY && allowed.contains(&of.destination)));
        assert_eq!(packets.faults(), Vec::<String>::new());
    }
}

pub(crate) fn own(pod: &PodRecord, port: u16) -> [SocketAddr; 2] {
    both(&pod.world[..2], port)
}

/// The other two world addresses of a pod.
pub(crate) fn second(pod: &PodRecord, port: u16) -> [SocketAddr; 2] {
    both(&pod.world[2..], port)
}

#[test]
fn each_field_of_a_policy_lets_through_what_it_names_and_nothing_else() {
    let scene = Scene::up();
    let [first4, first6] = [scene.web.world[0], scene.web.world[1]];

    scene.apply(&format!(
        "defaultAction: Deny\n  rules: [{{name: not-these, action: Deny, to: [{{cidr: {first4}/32}}, {{cidr: '{first6}/128'}}]}}, \
         {{name: world, action: Allow, to: [{{cidr: 203.0.112.0/20}}, {{cidr: '2001:db8:aaaa::/48'}}], \
         ports: [{{protocol: TCP, port: 7, endPort: 79}}]}}]"
    ));
    scene.refuses("the first rule that fits", own(&scene.web, 7), "tcp");
    scene.answers("a rule about a port", second(&scene.web, 7), "tcp");
    scene.refuses("another protocol", second(&scene.web, 7), "udp");
    scene.refuses("a port beyond the range", second(&scene.web, 80), "tcp");

    scene.apply("defaultAction: Allow\n  rules: [{name: mail, action: Deny, to: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}], ports: [{protocol: TCP, port: 80}]}]");
    scene.answers("no rule fits", own(&scene.web, 7), "udp");
    scene.answers("no rule fits", own(&scene.web, 7), "tcp");
    scene.refuses("a denied port", own(&scene.web, 80), "tcp");

    let host = both(&[HOST4.into(), HOST6.into()], 7);
    scene.settles("the LAN without permission", host[0], "tcp", None);
    scene.apply("defaultAction: Allow\n  lanAccess: Allow");
    let seen = scene.gateway[0].to_string();
    scene.settles("the exit's LAN, both allow", host[0], "tcp", Some(&seen));
    scene.lab.apply_yaml(&exit("eu", GATEWAY, "")).unwrap();
    scene.settles("the exit allows no LAN", host[0], "tcp", None);
    scene.answers("the world all the same", own(&scene.web, 7), "tcp");
    scene.nothing_leaked_but(&[HOST4.into(), HOST6.into()]);
}

/// Waits until the answer of a resolver about the world is this.
pub(crate) fn by(scene: &Scene, resolver: IpAddr, what: &str, wanted: &str) {
    let mut last = String::new();
    let found = wait_until(WAIT_DEADLINE, what, || {
        last = scene.resolves(resolver);
        Ok((last == wanted).then_some(()))
    });
    assert!(found.is_ok(), "{what}: {last:?}, not {wanted:?}");
}

/// A resolver that the pod chooses is subject to the rules; one that the policy names needs none.
fn chosen_resolvers(scene: &Scene, resolver: IpAddr, gateway: &str) {
    scene.apply("defaultAction: Deny");
    by(scene, resolver, "no rule allows the resolver", "REFUSED");
    scene.apply(&format!(
        "defaultAction: Deny\n  rules: [{{name: dns, action: Allow, to: [{{cidr: {resolver}/32}}], \
         ports: [{{protocol: UDP, port: 53}}, {{protocol: TCP, port: 53}}]}}]"
    ));
    by(scene, resolver, "a rule allows the resolver", gateway);
    assert_eq!(
        scene.resolves(HOST4.into()),
        "REFUSED",
        "the rule allows no other resolver"
    );
    scene.apply("defaultAction: Deny");
    by(scene, resolver, "no rule allows it again", "REFUSED");
    scene.apply(&format!(
        "defaultAction: Deny\n  dns: {{upstreams: ['{resolver}']}}"
    ));
    by(scene, resolver, "the policy names the resolver", gateway);
    assert_eq!(
        scene.resolves(HOST4.into()),
        gateway,
        "the named upstream answers, whatever address the pod asked"
    );
    scene.refuses("the rules about all else", own(&scene.web, 7), "tcp");
    scene.apply("defaultAction: Allow");
    scene.answers("the default again", own(&scene.web, 7), "tcp");
    by(scene, resolver, "a name by the exit once more", gateway);
}

#[test]
fn names_and_replies_and_routes_and_addresses_of_an_exit_are_as_the_objects_say() {
    let scene = Scene::up();
    let nodes = scene.lab.node(NODE).unwrap().addresses();
    for (family, name) in [(0, "port-4"), (1, "port-6")] {
        let to = (scene.web.addresses[family], 7);
        scene
            .lab
            .create_service(name, None, 30081, to, TrafficPolicy::Local)
            .unwrap();
    }
    let inbound = |wanted: bool| {
        for to in both(&nodes, 30081) {
            let what = format!("the world's question to a node port, answered: {wanted}");
            let found = wait_until(WAIT_DEADLINE, &what, || {
                let answer = ask(&scene.lab, Exec::World, to, &["--protocol", "tcp"]);
                Ok((answer.is_some() == wanted).then_some(()))
            });
            assert!(found.is_ok(), "{what}: {to}");
        }
    };
    inbound(true);
    scene.apply("defaultAction: Allow\n  inbound: {replies: None}");
    inbound(false);
    scene.apply("defaultAction: Allow");
    inbound(true);

    let resolver = scene.web.world[2];
    let by = |scene: &Scene, what: &str, wanted: &str| by(scene, resolver, what, wanted);
    let gateway = scene.gateway[0].to_string();
    by(&scene, "a name by the exit", &gateway);
    scene.apply("defaultAction: Allow\n  dns: {mode: Block}");
    by(&scene, "names are blocked", "REFUSED");
    scene.apply("defaultAction: Allow\n  dns: {mode: Forward}");
    by(&scene, "a name by the exit again", &gateway);

    chosen_resolvers(&scene, resolver, &gateway);

    // A forwarder that dies takes the names with it, and nothing else.
    scene.lab.kill("agent-n1").unwrap();
    by(&scene, "no forwarder", "");
    scene.answers("the rules stay", own(&scene.web, 7), "tcp");
    scene.lab.start_agent(NODE).unwrap();
    by(&scene, "a forwarder again", &gateway);

    // What the exit does not offer is dropped, and not sent by another way.
    let [first4, first6] = [scene.web.world[0], scene.web.world[1]];
    let routes = format!("\n  routes: ['{first4}/32', '{first6}/128']");
    scene.lab.apply_yaml(&exit("eu", GATEWAY, &routes)).unwrap();
    scene.refuses("what the exit does not offer", second(&scene.web, 7), "tcp");
    scene.answers("what it offers", own(&scene.web, 7), "tcp");

    let egress = "192.168.10.200";
    scene
        .lab
        .apply_yaml(&exit("eu", GATEWAY, &format!("egressIPs: [{egress}]")))
        .unwrap();
    let [world4, world6] = own(&scene.web, 7);
    scene.settles("the one egress address", world4, "tcp", Some(egress));
    scene.settles("the family without one", world6, "tcp", None);
    scene.nothing_leaked();
}

/// A megabyte in segments that fill the tunnel, and a datagram that has to be cut into pieces: what it takes to find out
/// how large they may be arrives too.
fn large(scene: &Scene, to: SocketAddr, seen: &str) {
    let (address, port) = (to.ip(), to.port());
    let send = |protocol: &str, size: u32| {
        let script = format!(
            "exec 3<>/dev/{protocol}/{address}/{port}; head -c {size} /dev/zero >&3 & \
             timeout 5 dd bs=200 count=1 <&3 2>/dev/null; wait $!"
        );
        let what = format!("an answer to {size} bytes of {protocol} for {address}");
        wait_until(WAIT_DEADLINE, &what, || {
            let output = scene.lab.exec(WEB, &["bash", "-c", &script])?;
            Ok(String::from_utf8_lossy(&output.stdout)
                .starts_with(seen)
                .then_some(()))
        })
        .unwrap();
    };
    send("tcp", 1_000_000);
    send("udp", 3000);
}

#[test]
fn an_established_connection_is_cut_and_large_packets_pass_and_a_deleted_policy_releases() {
    let scene = Scene::up();
    for (to, seen) in own(&scene.web, 7).into_iter().zip(scene.gateway) {
        large(&scene, to, &seen.to_string());
    }

    let mut connections = [0, 1].map(|family| Talk::converse(&scene.lab, &scene.web, family));
    let mut echoes = [0, 1].map(|family| Talk::echo(&scene.lab, &scene.web, family));
    let denied = |protocol: &str| {
        scene.apply(&format!(
            "defaultAction: Allow\n  rules: [{{name: denied, action: Deny, \
             to: [{{cidr: 0.0.0.0/0}}, {{cidr: '::/0'}}], ports: [{{protocol: {protocol}}}]}}]"
        ));
    };
    denied("TCP");
    scene.refuses("TCP is denied", own(&scene.web, 7), "tcp");
    connections.iter_mut().for_each(Talk::ends);
    for echo in &mut echoes {
        echo.goes_on("while only TCP is denied");
    }
    denied("ICMP");
    echoes.iter_mut().for_each(Talk::ends);
    scene.answers("TCP is allowed again", own(&scene.web, 7), "tcp");
    scene.answers("UDP is not", own(&scene.web, 7), "udp");

    scene
        .lab
        .delete_yaml(&policy("defaultAction: Allow"))
        .unwrap();
    let node = scene.lab.node(NODE).unwrap().addresses();
    for (to, seen) in own(&scene.web, 7).into_iter().zip(node) {
        scene.settles("released", to, "tcp", Some(&seen.to_string()));
    }
    scene.nothing_leaked();
}

/// Sets the label `app` of a pod's object.
fn relabel(scene: &Scene, app: &str) {
    relabel_with(scene, "app", app);
}

fn relabel_with(scene: &Scene, label: &str, value: &str) {
    let object = scene.lab.object("Pod", "crawlers", "web").unwrap();
    let mut object = object.unwrap();
    object["metadata"]["labels"][label] = Value::from(value);
    scene.lab.apply(vec![object]).unwrap();
}

#[test]
fn a_quarantine_takes_effect_at_once_whatever_else_selects_the_pod_and_an_exception_needs_both_halves()
 {
    let scene = Scene::up();
    // Special use: the policy excepts a destination, and the exit offers it. One of the two is not enough.
    let metadata = SocketAddr::new(METADATA.into(), 7);
    scene
        .lab
        .exec_ok(
            Exec::World,
            &["ip", "address", "add", "169.254.169.254/32", "dev", "lo"],
        )
        .unwrap();
    let seen = scene.gateway[0].to_string();
    let routes = "\n  routes: ['0.0.0.0/0', '::/0', '169.254.169.254/32']";
    let excepting = "defaultAction: Allow\n  specialUse: {exceptions: [169.254.169.254/32]}";
    scene.settles("neither half", metadata, "tcp", None);
    scene.apply(excepting);
    wait_until(WAIT_DEADLINE, "an intent with the exception", || {
        let body = scene.lab.current_body(NODE)?;
        let mut scopes = body.firewall.iter();
        let excepts = scopes.any(|scope| !scope.terms.special_use_exceptions.is_empty());
        Ok(excepts.then_some(()))
    })
    .unwrap();
    scene.in_force();
    scene.settles("the policy's half", metadata, "tcp", None);
    scene.lab.apply_yaml(&exit("eu", GATEWAY, routes)).unwrap();
    scene.settles("both halves", metadata, "tcp", Some(&seen));
    scene.apply("defaultAction: Allow");
    scene.settles("the exit's half", metadata, "tcp", None);

    // The higher rank decides about a pod that both select, also where the pod keeps the label of the other one.
    let quarantine = policy("defaultAction: Deny\n  priority: 1000")
        .replace("name: crawler}", "name: quarantine}")
        .replace("app: crawler", "quarantine: 'true'");
    scene.lab.apply_yaml(&quarantine).unwrap();
    scene.answers("it selects nothing yet", own(&scene.web, 7), "tcp");
    relabel_with(&scene, "quarantine", "true");
    for protocol in ["tcp", "udp"] {
        scene.refuses("quarantined", own(&scene.web, 7), protocol);
    }
    scene.nothing_leaked_but(&[METADATA.into()]);
}

#[test]
fn a_pods_own_label_and_a_refused_update_loosen_nothing_and_a_narrower_selector_does() {
    let scene = Scene::up();
    let by_the_exit = |what: &str| scene.answers(what, own(&scene.web, 7), "tcp");
    relabel(&scene, "other");
    scene.compiled(Access::Deny);
    by_the_exit("the pod has relabelled itself");
    relabel(&scene, "crawler");

    // The compiler keeps what was accepted before (story `refused-update`); here nothing of the update is stored at all.
    let refused = policy("defaultAction: Deny\n  schedule: night");
    scene.lab.apply_yaml(&refused).unwrap_err();
    scene.compiled(Access::Allow);
    by_the_exit("the update was refused");
    scene.apply("defaultAction: Allow");
    by_the_exit("the update was taken back");

    let narrower =
        policy("defaultAction: Allow").replace("app: crawler}", "app: crawler, tier: web}");
    scene.lab.apply_yaml(&narrower).unwrap();
    let node = scene.lab.node(NODE).unwrap().addresses();
    for (to, seen) in own(&scene.web, 7).into_iter().zip(node) {
        scene.settles("no longer selected", to, "tcp", Some(&seen.to_string()));
    }

    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: crawlers\n  labels: {postern.dev/egress-default: deny}\n";
    scene.lab.apply_yaml(namespace).unwrap();
    scene.refuses(
        "a namespace that denies from now on",
        own(&scene.web, 7),
        "tcp",
    );
    scene.nothing_leaked();
}
