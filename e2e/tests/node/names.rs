//! Names with packets: what an answer opens, what no answer opens, and what stays open.

use std::net::{IpAddr, SocketAddr};

use postern_e2e::lab::traffic::names::name_of;
use postern_e2e::lab::{Binaries, Exec, PodOptions};
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};

use crate::holes::{Talk, WEB, ask, both, lab_program, serving};
use crate::terms::{Scene, own};

const NODE: &str = "n1";

/// A policy that denies everything but these destinations, with the world as its resolver.
pub(crate) fn named(resolver: IpAddr, to: &str) -> String {
    format!(
        "defaultAction: Deny\n  dns: {{mode: Filter, upstreams: ['{resolver}']}}\n  rules: [{{name: apis, action: Allow, \
         to: [{to}], ports: [{{protocol: TCP, port: 7}}]}}]"
    )
}

const fn kind_of(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "A",
        IpAddr::V6(_) => "AAAA",
    }
}

/// A lab with a policy that filters names, and a resolver in the world.
pub(crate) struct Names {
    pub(crate) scene: Scene,
    pub(crate) resolver: IpAddr,
}

impl Names {
    pub(crate) fn up() -> Self {
        let scene = Scene::up();
        let resolver = scene.web.world[2];
        Self { scene, resolver }
    }

    /// What the resolver that the policy names answers to a pod, whatever address it asks.
    pub(crate) fn told(&self, who: Exec<'_>, name: &str, more: &[&str]) -> String {
        self.told_by(self.resolver, who, name, more)
    }

    fn told_by(&self, server: IpAddr, who: Exec<'_>, name: &str, more: &[&str]) -> String {
        let (program, server) = (lab_program(), server.to_string());
        let mut args = vec![&*program, "resolve", "--server", &server, name];
        args.extend(more);
        let output = self.scene.lab.exec(who, &args).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What dig prints that asks this server.
    pub(crate) fn dig(&self, who: Exec<'_>, server: IpAddr, name: &str, more: &[&str]) -> String {
        let at = format!("@{server}");
        let dig = ["dig", "+tries=1", "+time=2", &at, name];
        let output = self
            .scene
            .lab
            .exec(who, &[&dig[..], more].concat())
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The name of the address is answered with the address.
    pub(crate) fn resolves(&self, address: IpAddr) {
        let found = self.told(WEB, &name_of(address), &["--kind", kind_of(address)]);
        assert_eq!(found, address.to_string());
    }

    /// Did a server in the world receive a question for the name?
    pub(crate) fn was_asked(&self, name: &str) -> bool {
        let told = self.told(Exec::World, &format!("asked.{name}"), &[]);
        told.parse::<IpAddr>().is_ok()
    }

    /// Connects once, right now; what the other side saw, or nothing.
    pub(crate) fn connects(&self, who: Exec<'_>, to: SocketAddr) -> Option<String> {
        ask(&self.scene.lab, who, to, &["--protocol", "tcp"])
    }

    /// Lets every grant of the node end in a second.
    pub(crate) fn end_grants(&self) {
        let line = "for set in $(nft list sets inet | sed -n 's/.*set \\(granted_[^ ]*\\) .*/\\1/p'); do \
            nft list set inet postern $set | grep -oE '[0-9a-f:.]+ timeout' | while read -r address _; do \
            nft \"delete element inet postern $set { $address }; add element inet postern $set { $address timeout 1s }\"; \
            done; done";
        self.scene.lab.shell(NODE, line).unwrap();
    }
}

#[test]
fn an_answer_opens_what_its_name_leads_to_and_what_no_rule_allows_reaches_no_server() {
    let names = Names::up();
    let scene = &names.scene;
    let allowed = "{fqdn: '*.Allowed.World.test.'}";
    scene.apply(&named(names.resolver, allowed));
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();

    // The forwarder refuses names that no rule allows, also the parents of allowed names.
    for name in [
        "secret.world.test",
        "allowed.world.test",
        "x.allowed.world.test.evil.net",
    ] {
        assert_eq!(names.told(WEB, name, &[]), "NXDOMAIN", "{name}");
        assert_eq!(
            names.told(WEB, name, &["--protocol", "tcp"]),
            "NXDOMAIN",
            "{name}"
        );
        assert!(!names.was_asked(name), "{name}");
    }
    // Asked directly of another server in the world it is the same.
    let other = names.told_by(scene.web.world[3], WEB, "secret.world.test", &[]);
    assert_eq!(other, "NXDOMAIN");
    // Counts of questions alone cause no report; a change of the policy does.
    scene.apply(&format!(
        "{}\n  priority: 1",
        named(names.resolver, allowed)
    ));
    let lab = &scene.lab;
    let counted = lab.await_report(NODE, "the refused questions", |report| {
        report["counters"]["questions_name_refused"].as_u64() >= Some(7)
    });
    counted.unwrap();

    for (to, seen) in own(&scene.web, 7).into_iter().zip(scene.gateway) {
        names.resolves(to.ip());
        // The first connection after the answer.
        assert_eq!(names.connects(WEB, to), Some(seen.to_string()));
        scene.settles("another port", SocketAddr::new(to.ip(), 80), "tcp", None);
        scene.settles("another protocol", to, "udp", None);
    }
    assert!(names.was_asked(&name_of(scene.web.world[0])));
    let mixed = name_of(scene.web.world[0]).to_uppercase();
    let found = names.told(WEB, &mixed, &["--protocol", "tcp"]);
    assert_eq!(found, scene.web.world[0].to_string());

    // An address that no answer named stays closed, and a name that does not exist gets NXDOMAIN.
    let unasked = SocketAddr::new(scene.web.world[3], 7);
    scene.settles("an address that no answer named", unasked, "tcp", None);
    let absent = "absent.allowed.world.test";
    assert_eq!(names.told(WEB, absent, &[]), "NXDOMAIN");
    assert!(names.was_asked(absent));
    scene.nothing_leaked_but(&[]);
}

#[test]
fn no_answer_for_an_allowed_name_opens_the_cluster_or_special_addresses_in_any_form() {
    let names = Names::up();
    let scene = &names.scene;
    scene.apply(&named(names.resolver, "{fqdn: '*.allowed.world.test'}"));
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();
    let node = scene.lab.node(NODE).unwrap().ipv4();
    let [a, b, c, d] = node.octets();
    let embedded = |prefix: &str, suffix: &str| {
        format!(
            "{prefix}{:x}:{:x}{suffix}",
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d])
        )
    };
    let refused = [
        "10.244.1.2".to_owned(),
        "10.96.0.10".to_owned(),
        node.to_string(),
        "127.0.0.1".to_owned(),
        "0.0.0.0".to_owned(),
        "169.254.169.254".to_owned(),
        "10.1.2.3".to_owned(),
        "::1".to_owned(),
        "fe80::1".to_owned(),
        "fd00:10:244:1::2".to_owned(),
        embedded("::ffff:", ""),
        embedded("64:ff9b::", ""),
        embedded("64:ff9b:1::", ""),
        embedded("2002:", "::1"),
        "64:ff9b::a9fe:a9fe".to_owned(),
        "2001:0:4136:e378:8000:63bf:3fff:fdd2".to_owned(),
    ];
    for address in refused {
        let address: IpAddr = address.parse().unwrap();
        let (name, kind) = (name_of(address), kind_of(address));
        let found = names.told(WEB, &name, &["--kind", kind]);
        assert_eq!(found, "NXDOMAIN", "{address}");
        assert!(names.was_asked(&name), "{address}");
        let granted = scene.lab.shell(
            NODE,
            "nft list table inet postern | grep -c ' timeout .* expires' || true",
        );
        // The lease of both families, and nothing else.
        assert_eq!(granted.unwrap().trim(), "1", "{address}");
    }
    scene.nothing_leaked_but(&[]);
}

#[test]
fn a_grant_ends_for_new_connections_and_open_ones_go_on_also_without_the_agent() {
    let names = Names::up();
    let scene = &names.scene;
    scene.apply(&named(names.resolver, "{fqdn: '*.allowed.world.test'}"));
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();
    let [four, six] = own(&scene.web, 7);
    let seen = scene.gateway.map(|seen| seen.to_string());
    for to in [four, six] {
        names.resolves(to.ip());
    }
    let mut open = [0, 1].map(|family| Talk::converse(&scene.lab, &scene.web, family));

    // The agent is away: what was granted stays so, for new connections too.
    scene.lab.kill("agent-n1").unwrap();
    assert_eq!(names.connects(WEB, four), Some(seen[0].clone()));
    open.iter_mut()
        .for_each(|talk| talk.goes_on("while the agent is away"));
    scene.lab.start_agent(NODE).unwrap();
    scene
        .lab
        .await_report(NODE, "a report after the restart", |report| {
            report["scopes"].is_array()
        })
        .unwrap();
    assert_eq!(
        names.connects(WEB, six),
        Some(seen[1].clone()),
        "without another question"
    );
    open.iter_mut()
        .for_each(|talk| talk.goes_on("after the restart"));

    names.end_grants();
    scene.refuses("the answer is no longer valid", own(&scene.web, 7), "tcp");
    open.iter_mut()
        .for_each(|talk| talk.goes_on("after the end of its grant"));

    // Another question opens it again, and a policy without the name closes it at once.
    names.resolves(four.ip());
    assert_eq!(names.connects(WEB, four), Some(seen[0].clone()));
    scene.apply(&named(names.resolver, "{fqdn: other.world.test}"));
    scene.refuses(
        "no rule allows the name any more",
        own(&scene.web, 7),
        "tcp",
    );
    open.iter_mut().for_each(Talk::ends);
    scene.nothing_leaked_but(&[]);
}

#[test]
fn what_the_filter_adds_to_its_resolver_is_measured_and_within_the_bound() {
    let names = Names::up();
    let scene = &names.scene;
    scene.apply(&named(names.resolver, "{fqdn: '*.allowed.world.test'}"));
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();
    let run_dir = scene.lab.run_dir(NODE);
    let pod = scene.web.addresses[0].to_string();
    let asked = |program: &str, more: &[&str], names: &[String]| {
        let mut command = std::process::Command::new(Binaries::locate().unwrap().path(program));
        let words: &[&str] = match program {
            "posternctl" => &["dns", "check"],
            _ => &["dns-check"],
        };
        command.args(words).arg("--run-dir").arg(&run_dir);
        command.args(["--pod", &pod]).args(more).args(names);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let check = |more: &[&str], names: &[String]| asked("postern-agent", more, names);
    // Each name is new to the pod, so that the kernel is told an address for each answer of the first round.
    let fresh: Vec<String> = (10..110)
        .map(|last| name_of(format!("203.0.113.{last}").parse().unwrap()))
        .collect();
    for rounds in ["1", "4"] {
        let (code, table) = check(&["--rounds", rounds], &fresh);
        println!("{rounds} rounds of {} names\n{table}", fresh.len());
        assert_eq!(code, Some(0), "{table}");
        assert!(table.contains("holds: the forwarder adds"), "{table}");
    }
    let (code, json) = check(&["--rounds", "2", "-o", "json"], &fresh[..5]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["holds"]), (Some(0), &true.into()), "{json}");
    assert_eq!(json["cost"]["forwarder"]["answered"], 10, "{json}");
    assert_eq!(json["resolvers"][0], format!("{}:53", names.resolver));
    // A name that no rule allows is asked of nobody, also not by the measurement.
    for program in ["postern-agent", "posternctl"] {
        let (code, table) = asked(program, &["--rounds", "2"], &fresh[..5]);
        assert_eq!(code, Some(0), "{table}");
        assert!(table.contains("holds: the forwarder adds"), "{table}");
        let (code, told) = asked(program, &[], &["secret.world.test".to_owned()]);
        assert!(
            code == Some(1) && told.contains("the policy of the pod refuses"),
            "{told}"
        );
    }
    assert!(!names.was_asked("secret.world.test"));
    // Where no resolver answers, nothing was measured, and no bound holds.
    let silent: IpAddr = "11.22.33.44".parse().unwrap();
    scene.apply(&named(silent, "{fqdn: '*.allowed.world.test'}"));
    scene.published(&[&silent.to_string()]);
    for program in ["postern-agent", "posternctl"] {
        let (code, table) = asked(program, &["--rounds", "1"], &fresh[..1]);
        assert_eq!(code, Some(3), "{table}");
        assert!(table.contains("does not hold"), "{table}");
    }
    scene.nothing_leaked_but(&[silent]);
}

#[test]
fn what_one_policy_was_granted_another_one_with_the_same_names_was_not() {
    let names = Names::up();
    let scene = &names.scene;
    let rules = named(names.resolver, "{fqdn: '*.allowed.world.test'}");
    scene.apply(&rules);
    let other = serving(
        &scene.lab,
        "crawlers/other",
        PodOptions::on(NODE).label("team", "other"),
    );
    let policy = crate::terms::policy(&format!("priority: 10\n  {rules}"))
        .replace("name: crawler}", "name: other}")
        .replace("app: crawler", "team: other");
    scene.lab.apply_yaml(&policy).unwrap();
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();
    let who = Exec::Pod("crawlers/other");
    let to = SocketAddr::new(other.world[0], 7);
    wait_until(WAIT_DEADLINE, "the other policy in force", || {
        Ok(names.connects(who, to).is_none().then_some(()))
    })
    .unwrap();
    // The first pod is granted the address of the other one.
    names.resolves(to.ip());
    assert_eq!(names.connects(who, to), None);
    assert_eq!(names.told(who, &name_of(to.ip()), &[]), to.ip().to_string());
    assert_eq!(names.connects(who, to), Some(scene.gateway[0].to_string()));
    let all = both(&other.world[..2], 7);
    scene.nothing_leaked_but(&all.map(|to| to.ip()));
}
