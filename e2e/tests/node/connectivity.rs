//! What a policy changes, and what it does not: the same questions are asked before it and under it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::holes::{Talk, serving};
use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::lab::{Binaries, Exec, Plugin, PodOptions, PodRecord, TrafficPolicy, UpOptions};
use postern_e2e::proof::harness::{
    FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, policy, wait_until,
};

/// A question: who asks whom, and how.
type Question = (String, Asker, SocketAddr, &'static str);

#[derive(Clone, Copy, Debug)]
enum Asker {
    Pod(&'static str),
    Node(&'static str),
    World,
}

impl Asker {
    fn place(self) -> Exec<'static> {
        match self {
            Self::Pod(name) => Exec::Pod(name),
            Self::Node(name) => Exec::Node(name),
            Self::World => Exec::World,
        }
    }
}

/// A selected pod, an unselected one beside it, and one on another node; all of them answer on port 7.
struct Cast {
    selected: PodRecord,
    near: PodRecord,
    far: PodRecord,
}

impl Cast {
    fn start(lab: &TestLab) -> Self {
        let serve = |name: &str, options: PodOptions| {
            let program = Binaries::locate().unwrap().lab();
            let dir = lab.dir().as_os_str();
            let command = [
                program.as_os_str(),
                "--dir".as_ref(),
                dir,
                "run".as_ref(),
                "world".as_ref(),
            ];
            lab.pod_on(name, &options.command(command)).unwrap()
        };
        let selected = PodOptions::on("n1").label("app", "crawler");
        Self {
            selected: serve("crawlers/web", selected),
            near: serve("default/near", PodOptions::on("n1")),
            far: serve("default/far", PodOptions::on("n2")),
        }
    }
}

fn ask(lab: &TestLab, (_, asker, to, protocol): &Question) -> Result<Option<String>, LabError> {
    let program = Binaries::locate()?.lab().display().to_string();
    let to = to.to_string();
    let args = [
        program.as_str(),
        "probe",
        to.as_str(),
        "--protocol",
        protocol,
    ];
    let output = lab.exec(asker.place(), &args)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then_some(text))
}

/// A service for each unselected pod, whose addresses it answers, and node ports.
fn serve(lab: &TestLab, cast: &Cast, family: usize) -> Vec<IpAddr> {
    let at = |pod: &PodRecord| SocketAddr::new(pod.addresses[family], 7);
    let services = [
        ["10.96.0.10", "fd00:10:96::10"],
        ["10.96.0.11", "fd00:10:96::11"],
    ];
    let services: Vec<IpAddr> = services.map(|pair| pair[family].parse().unwrap()).into();
    for (service, pod) in services.iter().zip([&cast.near, &cast.far]) {
        let (name, to) = (format!("{}-{family}", pod.name), at(pod));
        lab.create_service(
            &name,
            Some(*service),
            7,
            (to.ip(), 7),
            TrafficPolicy::Cluster,
        )
        .unwrap();
    }
    let ports = [
        (30080, &cast.near, TrafficPolicy::Cluster),
        (30081, &cast.selected, TrafficPolicy::Cluster),
        (30082, &cast.selected, TrafficPolicy::Local),
    ];
    for (port, pod, policy) in ports {
        lab.create_service(
            &format!("port-{port}-{family}"),
            None,
            port,
            (at(pod).ip(), 7),
            policy,
        )
        .unwrap();
    }
    services
}

/// Every question about pods, and about services and node ports, which are made for it.
fn questions(lab: &TestLab, cast: &Cast) -> Vec<Question> {
    let mut questions = Vec::new();
    let mut add = |what: &str, asker: Asker, to: SocketAddr| {
        for protocol in ["tcp", "udp"] {
            let name = format!("{what}: {asker:?} {to} {protocol}");
            questions.push((name, asker, to, protocol));
        }
    };
    for family in [0, 1] {
        let at = |pod: &PodRecord| SocketAddr::new(pod.addresses[family], 7);
        let node =
            |name: &str, port| SocketAddr::new(lab.node(name).unwrap().addresses()[family], port);
        let services = serve(lab, cast, family);
        for (asker, other) in [
            (Asker::Pod("crawlers/web"), &cast.near),
            (Asker::Pod("default/near"), &cast.selected),
        ] {
            add("pod to pod on its node", asker, at(other));
            add("pod to pod on another node", asker, at(&cast.far));
            for service in &services {
                add("pod to service", asker, SocketAddr::new(*service, 7));
            }
        }
        add(
            "pod from another node",
            Asker::Pod("default/far"),
            at(&cast.selected),
        );
        for (asker, pod) in [
            ("n1", &cast.selected),
            ("n1", &cast.near),
            ("n2", &cast.selected),
        ] {
            add("probe from a node", Asker::Node(asker), at(pod));
        }
        add(
            "node port of an unselected pod",
            Asker::World,
            node("n1", 30080),
        );
        add(
            "node port of a selected pod",
            Asker::World,
            node("n1", 30081),
        );
        add(
            "its node port by another node",
            Asker::World,
            node("n2", 30081),
        );
        add(
            "its node port with the client's address",
            Asker::World,
            node("n1", 30082),
        );
        add(
            "unselected pod to the world",
            Asker::Pod("default/near"),
            SocketAddr::new(cast.near.world[family], 7),
        );
    }
    questions
}

/// A connection to a Service by which a selected pod is told things.
fn stream(lab: &TestLab, cast: &Cast) -> Talk {
    let service: IpAddr = "10.96.0.19".parse().unwrap();
    let to = (cast.far.addresses[0], 19);
    lab.create_service("stream", Some(service), 19, to, TrafficPolicy::Cluster)
        .unwrap();
    Talk::listen(lab, &cast.selected, service)
}

fn sources(sender: &Sender, after: Timestamp) -> BTreeSet<IpAddr> {
    let sums = sender.since(after + Duration::from_secs(1));
    sums.into_values().flat_map(|tally| tally.sources).collect()
}

#[test]
fn a_policy_changes_the_way_out_of_its_pods_and_nothing_else() {
    let lab = TestLab::up(&UpOptions::default()).unwrap();
    let cast = Cast::start(&lab);
    let questions = questions(&lab, &cast);
    let mut before = BTreeMap::new();
    for question in &questions {
        let answer = wait_until(WAIT_DEADLINE, &question.0, || ask(&lab, question)).unwrap();
        before.insert(&question.0, answer);
    }
    let mut stream = stream(&lab, &cast);
    let selected = PodOptions::on("n1").label("app", "crawler");
    let selected = lab.sender("crawlers/crawler", selected).unwrap();
    let free = lab.sender("default/free", PodOptions::on("n1")).unwrap();
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    lab.await_state("n1", "eu", "Enforcing", Timestamp::MIN)
        .unwrap();

    let applied = Timestamp::now();
    for (sender, node) in [(&selected, "gw-1"), (&free, "n1")] {
        sender
            .await_answers(&FLOWS, applied, WAIT_DEADLINE)
            .unwrap();
        let node = lab.node(node).unwrap().addresses();
        assert_eq!(
            sources(sender, applied),
            node.into(),
            "{}",
            sender.pod.key()
        );
    }
    for question in &questions {
        let (mut last, wanted) = (None, &before[&question.0]);
        let same = wait_until(WAIT_DEADLINE / 3, &question.0, || {
            last = ask(&lab, question)?;
            Ok((last.as_ref() == Some(wanted)).then_some(()))
        });
        assert!(
            same.is_ok(),
            "{}: {wanted} before, {last:?} now",
            question.0
        );
    }
    for (to, source) in cast
        .selected
        .world
        .iter()
        .zip(lab.node("gw-1").unwrap().addresses())
    {
        for protocol in ["tcp", "udp"] {
            let question = (
                String::new(),
                Asker::Pod("crawlers/web"),
                SocketAddr::new(*to, 7),
                protocol,
            );
            let seen = wait_until(WAIT_DEADLINE, "an answer from the world", || {
                ask(&lab, &question)
            });
            assert_eq!(seen.unwrap(), source.to_string(), "{to} {protocol}");
        }
    }
    stream.goes_on("after the policy was made");
    let rules = "rules: [{action: Deny, to: [{cidr: 198.51.100.0/24}]}]\n";
    let edited = Timestamp::now();
    lab.apply_yaml(&policy("eu", rules)).unwrap();
    lab.await_state("n1", "eu", "Enforcing", edited).unwrap();
    stream.goes_on("after a rule about the world was added");
    let packets = lab.packets().unwrap();
    assert!(
        packets.replies > 0,
        "replies to the world's connections are counted apart"
    );
    assert_eq!(packets.faults(), Vec::<String>::new());
}

/// A pod without a binding may be another one that came to its address meanwhile. Where its address was released and still
/// is, there is nothing that a flow could keep.
#[test]
fn streams_of_released_pods_without_a_binding_go_on_over_a_restart_of_the_agent() {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        plugin: Plugin::Absent,
        ..UpOptions::default()
    })
    .unwrap();
    let free = lab.pod_on("default/free", &PodOptions::on("n1")).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    let former = sender.pod.clone();
    lab.delete_yaml(&policy("eu", "")).unwrap();
    lab.await_report("n1", "no scope", |report| {
        report["scopes"].as_array().is_none_or(Vec::is_empty)
    })
    .unwrap();
    sender
        .await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE)
        .unwrap();
    let mut streams: Vec<Talk> = [&free, &former]
        .into_iter()
        .flat_map(|pod| [0, 1].map(|family| Talk::listen(&lab, pod, pod.world[family])))
        .collect();
    lab.kill("agent-n1").unwrap();
    let killed = Timestamp::now();
    lab.start_agent("n1").unwrap();
    lab.await_report("n1", "a report of the second agent", |report| {
        let at = report["verifiedAt"].as_str().and_then(|at| at.parse().ok());
        at.is_some_and(|at: Timestamp| at > killed)
    })
    .unwrap();
    for stream in &mut streams {
        stream.goes_on("after a restart of the agent");
    }
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

/// Waits until a pod that asks a server for a name has this answer, by both protocols.
fn resolves(lab: &TestLab, pod: &str, (server, name): (&str, &str), wanted: &str) {
    let program = Binaries::locate().unwrap().lab().display().to_string();
    for protocol in ["udp", "tcp"] {
        let mut args = vec![program.as_str(), "resolve", "--server", server];
        args.extend(["--protocol", protocol, name]);
        let mut last = String::new();
        let found = wait_until(WAIT_DEADLINE, name, || {
            let output = lab.exec(Exec::Pod(pod), &args)?;
            last = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Ok((last == wanted).then_some(()))
        });
        assert!(
            found.is_ok(),
            "{pod}: {name} of {server} by {protocol}: {last:?}, not {wanted}"
        );
    }
}

#[test]
fn names_of_a_selected_pod_resolve_through_the_exit_and_cluster_names_inside() {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    let service: IpAddr = "10.96.0.10".parse().unwrap();
    let to = (sender.pod.addresses[0], 7);
    lab.create_service("web", Some(service), 7, to, TrafficPolicy::Cluster)
        .unwrap();
    let gateway = lab.node("gw-1").unwrap().ipv4().to_string();
    let resolver = sender.pod.world[2].to_string();
    let (whoami, web) = ("whoami.world.test", "web.default.svc.cluster.local");
    let crawler = "crawlers/crawler";
    for (server, name, wanted) in [
        (resolver.as_str(), whoami, gateway.clone()),
        (&resolver, web, service.to_string()),
        ("10.96.0.53", web, service.to_string()),
        // The cluster's resolver is not outside, and no address outside was named.
        ("10.96.0.53", whoami, "REFUSED".to_owned()),
    ] {
        resolves(&lab, crawler, (server, name), &wanted);
    }

    // A resolver of the cluster's own, in a pod behind a Service, is asked as any other server inside is.
    let corporate = serving(&lab, "default/corporate", PodOptions::on("n1"));
    let service: IpAddr = "10.96.0.99".parse().unwrap();
    let to = (corporate.addresses[0], 53);
    lab.create_service("corporate", Some(service), 53, to, TrafficPolicy::Cluster)
        .unwrap();
    let own = sender.pod.addresses[0].to_string();
    resolves(&lab, crawler, ("10.96.0.99", whoami), &own);

    // On the gateway itself names leave by the exit too, which has no address of its own.
    let local = PodOptions::on("gw-1").label("app", "crawler");
    let local = lab.sender("crawlers/local", local).unwrap();
    let resolver = local.pod.world[2].to_string();
    resolves(&lab, "crawlers/local", (&resolver, whoami), &gateway);

    // With a resolver outside, the cluster's one answers names of the world too: by the policy's word, then by the agent's.
    let upstreams = format!("dns: {{upstreams: ['{resolver}']}}\n");
    lab.apply_yaml(&policy("eu", &upstreams)).unwrap();
    resolves(&lab, crawler, ("10.96.0.53", whoami), &gateway);
    lab.apply_yaml(&policy("eu", "")).unwrap();
    resolves(&lab, crawler, ("10.96.0.53", whoami), "REFUSED");
    lab.stop("agent-n1").unwrap();
    lab.set_agent_arguments("n1", &["--dns-upstreams", &format!("{resolver}:53")])
        .unwrap();
    lab.start_agent("n1").unwrap();
    resolves(&lab, crawler, ("10.96.0.53", whoami), &gateway);
    // The answers say by which address the gateway's own pod left; the counter cannot tell.
    let mut faults = lab.packets().unwrap().faults();
    faults.retain(|fault| !fault.contains("cannot be judged"));
    assert_eq!(faults, Vec::<String>::new());
}
