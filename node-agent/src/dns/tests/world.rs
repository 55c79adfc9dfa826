//! One node: three pods, an exit, an uplink that nothing may take, and resolvers on both sides.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use postern_agent_core::records::NameDecision;
use postern_host::ports::TransportProtocol;
use postern_intent::body::{TermsDnsMode, TermsDnsRefusal};
use postern_plan::desired::dns::{DnsEntry, DnsExit, DnsPlan};
use postern_plan::desired::{Lease, SocketSource};
use postern_plan::host::Family;
use postern_plan::ruleset::Grant;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::super::node::DnsNode;
use super::super::{
    CheckWork, DnsCounters, Forwarder, ForwarderOptions, NodeResolvers, ResolverCircuits,
};
use super::namespace::{Host, run};
use super::resolver::Resolver;
use crate::grants::GrantError;

const PORT: u16 = 5300;
/// What the resolver in the world answers.
pub(super) const WORLD: &str = "203.0.113.99";
/// What the cluster's resolver answers.
pub(super) const CLUSTER: &str = "10.96.0.99";

/// Over IPv4 and IPv6, UDP and TCP, to whatever resolver.
pub(super) const WAYS: [&str; 4] = [
    "@203.0.113.53 +notcp",
    "@203.0.113.53 +tcp",
    "@2001:db8::53 +notcp",
    "@2001:db8::53 +tcp",
];

/// The facts of the node, set by a test.
#[derive(Clone)]
pub(super) struct Facts {
    pub(super) asked: Option<SocketAddr>,
    pub(super) lease: Lease,
    pub(super) kernel: KernelAnswer,
    pub(super) granted: Vec<Grant>,
    pub(super) recorded: Vec<NameDecision>,
}

impl Facts {
    pub(super) const fn usual() -> Self {
        Self {
            asked: None,
            lease: Lease::Runs,
            kernel: KernelAnswer::Takes,
            granted: Vec::new(),
            recorded: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KernelAnswer {
    Takes,
    IsFull,
}

struct TestNode(Arc<Mutex<Facts>>);

impl DnsNode for TestNode {
    async fn original_destination(
        &self,
        _: TransportProtocol,
        _: SocketAddr,
        _: SocketAddr,
    ) -> Option<SocketAddr> {
        self.0.lock().unwrap().asked
    }

    async fn grant(&self, _: &str, grants: Vec<Grant>) -> Result<(), GrantError> {
        let mut facts = self.0.lock().unwrap();
        facts.granted.extend(grants);
        match facts.kernel {
            KernelAnswer::Takes => Ok(()),
            KernelAnswer::IsFull => Err(GrantError::Missing),
        }
    }

    fn lease(&self) -> Lease {
        self.0.lock().unwrap().lease
    }

    fn record(&self, decision: NameDecision) {
        self.0.lock().unwrap().recorded.push(decision);
    }
}

/// Everything a test looks at. The forwarder runs in this process, which is the node.
pub(super) struct World {
    /// Two pods that the table knows, and one that it does not.
    pub(super) pods: [Host; 2],
    pub(super) stranger: Host,
    pub(super) outside: Resolver,
    pub(super) cluster: Resolver,
    pub(super) counters: DnsCounters,
    pub(super) work: mpsc::Sender<CheckWork>,
    table: watch::Sender<DnsPlan>,
    facts: Arc<Mutex<Facts>>,
    pub(super) world: Host,
    _runtime: Runtime,
}

impl World {
    pub(super) fn new() -> Self {
        for scope in ["all", "default"] {
            // The exit's resolvers are not on the main table's way back.
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"), "0").unwrap();
        }
        run("ip link set lo up");
        let pods = [add_pod(1), add_pod(2)];
        let stranger = add_pod(3);
        add_rules();
        let world = add_world();
        let (outside, cluster) = (Resolver::default(), Resolver::default());
        world.within(|| {
            outside.serve(
                &["203.0.113.53", "203.0.113.54", "2001:db8::53"],
                WORLD.parse().unwrap(),
            )
        });
        run("ip address add 10.96.0.10/32 dev lo");
        cluster.serve(&["10.96.0.10"], CLUSTER.parse::<Ipv4Addr>().unwrap());
        let facts = Arc::new(Mutex::new(Facts::usual()));
        let (table, reader) = watch::channel(plan(&entry()));
        let (runtime, counters, work) = start(reader, &facts);
        Self {
            pods,
            stranger,
            outside,
            cluster,
            counters,
            work,
            table,
            facts,
            world,
            _runtime: runtime,
        }
    }

    /// Gives both pods another entry.
    pub(super) fn set(&self, entry: &DnsEntry) {
        self.table.send_replace(plan(entry));
    }

    /// No answer may bring an address of this range any more.
    pub(super) fn never_brings(&self, range: &str) {
        let range = range.parse().unwrap();
        self.table
            .send_modify(|plan| plan.never_granted.push(range));
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts.lock().unwrap().clone()
    }

    pub(super) fn set_facts(&self, facts: Facts) {
        *self.facts.lock().unwrap() = facts;
    }
}

fn start(
    table: watch::Receiver<DnsPlan>,
    facts: &Arc<Mutex<Facts>>,
) -> (Runtime, DnsCounters, mpsc::Sender<CheckWork>) {
    let runtime = Runtime::new().unwrap();
    let options = ForwarderOptions {
        port: PORT,
        own: NodeResolvers::default(),
    };
    let inside = runtime.enter();
    let (node, counters) = (TestNode(Arc::clone(facts)), DnsCounters::default());
    let (work, checks) = mpsc::channel(1);
    let circuits = ResolverCircuits::new(counters.clone());
    let forwarder = Forwarder::bind(options, table, node, counters.clone(), circuits).unwrap();
    runtime.spawn(forwarder.run(checks));
    drop(inside);
    (runtime, counters, work)
}

/// A scope with a working exit and a resolver in each family.
pub(super) fn entry() -> DnsEntry {
    let sources = BTreeMap::from([
        (
            Family::V4,
            SocketSource::Address("198.18.0.2".parse().unwrap()),
        ),
        (
            Family::V6,
            SocketSource::Address("fd00:18::2".parse().unwrap()),
        ),
    ]);
    DnsEntry {
        terms: Some(Arc::new(postern_intent::body::Terms {
            default_action: postern_intent::body::Access::Allow,
            ..postern_intent::body::Terms::nothing()
        })),
        scope: None,
        mode: TermsDnsMode::Forward,
        refusal: TermsDnsRefusal::NxDomain,
        names: Arc::default(),
        upstreams: vec!["203.0.113.53:53".parse().unwrap()],
        exit: Some(DnsExit {
            exit: Some("berlin".parse().unwrap()),
            mark: 0x10,
            device: "pst-c-berlin".parse().unwrap(),
            offered: None,
            sources,
        }),
    }
}

fn plan(entry: &DnsEntry) -> DnsPlan {
    let addresses = ["10.244.1.2", "fd00:244:1::2", "10.244.2.2", "fd00:244:2::2"];
    DnsPlan {
        entries: addresses
            .into_iter()
            .map(|address| (address.parse().unwrap(), entry.clone()))
            .collect(),
        cluster_domain: "cluster.local".to_owned(),
        cluster_resolvers: vec!["10.96.0.10".parse().unwrap()],
        cluster_ranges: vec![
            "10.244.0.0/16".parse().unwrap(),
            "10.96.0.0/12".parse().unwrap(),
        ],
        never_granted: Vec::new(),
        resolver_names: vec!["*.doh.example.com".parse().unwrap()],
    }
}

fn add_pod(number: u8) -> Host {
    let pod = Host::start();
    run(&format!(
        "ip link add pod{number} type veth peer name eth0 netns {}",
        pod.pid()
    ));
    run(&format!(
        "ip address add 10.244.{number}.1/24 dev pod{number}"
    ));
    run(&format!(
        "ip address add fd00:244:{number}::1/64 dev pod{number} nodad"
    ));
    run(&format!(
        "ip address add 10.244.{number}.9/24 dev pod{number}"
    ));
    run(&format!(
        "ip address add fd00:244:{number}::9/64 dev pod{number} nodad"
    ));
    run(&format!("ip link set pod{number} up"));
    pod.run(&format!("ip address add 10.244.{number}.2/24 dev eth0"));
    pod.run(&format!(
        "ip address add fd00:244:{number}::2/64 dev eth0 nodad"
    ));
    pod.run("ip link set eth0 up");
    pod.run(&format!("ip route add default via 10.244.{number}.1"));
    pod.run(&format!("ip -6 route add default via fd00:244:{number}::1"));
    pod
}

/// As the agent does it: whatever resolver a pod names, the node answers.
fn add_rules() {
    run("nft add table inet dns");
    run("nft add chain inet dns pre { type nat hook prerouting priority -110 ; }");
    run(
        "nft add rule inet dns pre iifname pod* meta l4proto { tcp, udp } th dport 53 redirect to :5300",
    );
    // As the guard does it: what is not marked does not leave by the exit's device. Without this an
    // unmarked socket on that device would still find the resolver: Linux takes a destination that
    // no route reaches for a neighbour on the device that the socket is bound to.
    run("nft add chain inet dns out { type filter hook output priority 0 ; }");
    let stop = "oifname pst-c-berlin th dport 53 meta mark and 0x70 != 0x10 drop";
    run(&format!("nft add rule inet dns out {stop}"));
}

/// The exit is reached by mark only; the main table's default is an uplink that would answer too.
fn add_world() -> Host {
    let world = Host::start();
    for (link, v4, v6) in [
        ("pst-c-berlin", "198.18.0", "fd00:18:"),
        ("uplink", "192.0.2", "fd00:2:"),
    ] {
        run(&format!(
            "ip link add {link} type veth peer name {link} netns {}",
            world.pid()
        ));
        run(&format!("ip address add {v4}.2/24 dev {link}"));
        run(&format!("ip address add {v6}:2/64 dev {link} nodad"));
        run(&format!("ip link set {link} up"));
        world.run(&format!("ip address add {v4}.1/24 dev {link}"));
        world.run(&format!("ip address add {v6}:1/64 dev {link} nodad"));
        world.run(&format!("ip link set {link} up"));
    }
    for address in [
        "203.0.113.53/32",
        "203.0.113.54/32",
        "2001:db8::53/128 nodad",
    ] {
        world.run(&format!("ip address add dev lo {address}"));
    }
    run("ip route add default via 192.0.2.1");
    run("ip -6 route add default via fd00:2::1");
    run("ip route add default via 198.18.0.1 dev pst-c-berlin table 100");
    run("ip -6 route add default via fd00:18::1 dev pst-c-berlin table 100");
    run("ip rule add fwmark 0x10/0x70 lookup 100 priority 10010");
    run("ip -6 rule add fwmark 0x10/0x70 lookup 100 priority 10010");
    world
}
