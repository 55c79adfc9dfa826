//! A table of attacks on a policy that denies all but some names. Each row is a client in a pod: the monitor sees what it sends
//! when a pod without a policy does the same, sees nothing of the selected pod, and a counter of the node counts what was refused.

mod rows;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use postern_e2e::lab::{Exec, PodOptions, PodRecord};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, record_run, wait_until};
use serde_json::{Value, json};

use crate::holes::{WEB, both, lab_program, nobody, probe, probed, sent, serving};
use crate::terms::{GATEWAY, Scene};
use postern_e2e::lab::traffic::names::name_of;

const NODE: &str = "n1";
const NEAR: Exec<'static> = Exec::Pod("default/near");
/// The source of flows that are older than the policy.
const OLD_PORT: &str = "4444";
/// Ports of carriers of other packets, VXLAN's and Geneve's.
const CARRIERS: [u16; 2] = [4789, 6081];

/// What counts a refused packet or question.
#[derive(Clone, Copy)]
enum Counted {
    /// A counter of the table `inet postern`.
    Packets(&'static str),
    /// A counter of the table `bridge postern`.
    Frames(&'static str),
    /// An outcome of the forwarder's questions.
    Questions(&'static str),
    /// The kernel's own count of fragments whose other ones did not come.
    Kernel,
}

/// How a case detects that an act succeeded.
#[derive(Clone, Copy)]
enum Through {
    /// Packets on the LAN for the row's addresses.
    Packets,
    /// The same, and names that a server in the world was asked for.
    Queries,
    /// Addresses of an answer.
    Answers,
    /// Packets that carry the forged content and reach the gateway's own stack.
    Gateway,
}

/// An act of a pod towards these addresses; its output is what the client printed.
type Act = Box<dyn Fn(&Attacks, Exec<'_>, [IpAddr; 2]) -> String>;

struct Attack {
    what: &'static str,
    client: &'static str,
    counted: Counted,
    /// The rise that the act gives at least.
    least: u64,
    through: Through,
    /// Where an attack goes that has no address of its own.
    to: Option<[IpAddr; 2]>,
    act: Act,
    /// What a pod without a policy does, where that is not the same.
    free: Option<Act>,
    /// Whether the kernel lets it through by itself.
    arrives: bool,
}

impl Attack {
    fn new(
        what: &'static str,
        client: &'static str,
        counted: Counted,
        act: impl Fn(&Attacks, Exec<'_>, [IpAddr; 2]) -> String + 'static,
    ) -> Self {
        Self {
            what,
            client,
            counted,
            least: 2,
            through: Through::Packets,
            to: None,
            act: Box::new(act),
            free: None,
            arrives: true,
        }
    }

    /// A name that is asked with dig of addresses in the world. Each act replaces the star by a new label, so that no earlier act
    /// can have asked for the name.
    fn name(what: &'static str, name: &str, more: &'static [&'static str]) -> Self {
        let name = name.to_owned();
        let act = move |attacks: &Attacks, who: Exec<'_>, to: [IpAddr; 2]| {
            let number = attacks.named.borrow().len() + attacks.rows.len() * 10;
            let name = name.replace('*', &format!("t{number}"));
            attacks.named.borrow_mut().push(name.clone());
            to.map(|to| attacks.dig(who, to, &name, more)).concat()
        };
        Self::new(what, "dig", Counted::Questions("name-refused"), act).through(Through::Queries)
    }

    /// Allowed names that lead to addresses that no answer may bring.
    fn rebinding(what: &'static str, addresses: &[&str], label: fn(IpAddr) -> String) -> Self {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let least = u64::try_from(addresses.len()).unwrap();
        let act = move |attacks: &Attacks, who: Exec<'_>, _: [IpAddr; 2]| {
            let asked = addresses.iter().map(|address| {
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                attacks.dig(who, attacks.resolver, &label(*address), &[kind])
            });
            asked.collect::<String>()
        };
        Self::new(what, "dig", Counted::Questions("address-refused"), act)
            .through(Through::Answers)
            .least(least)
    }

    fn forged(what: &'static str, kind: &'static str, more: &'static [&'static str]) -> Self {
        let act = move |attacks: &Attacks, who: Exec<'_>, to: [IpAddr; 2]| {
            attacks.forge(who, kind, attacks.own(who), both(&to, 7), more)
        };
        Self::new(what, "lab forge", Counted::Packets("blocked"), act)
    }

    fn counted(mut self, counted: Counted) -> Self {
        self.counted = counted;
        self
    }

    const fn least(mut self, least: u64) -> Self {
        self.least = least;
        self
    }

    const fn through(mut self, through: Through) -> Self {
        self.through = through;
        self
    }

    const fn to(mut self, to: [IpAddr; 2]) -> Self {
        self.to = Some(to);
        self
    }

    fn free(mut self, act: impl Fn(&Attacks, Exec<'_>, [IpAddr; 2]) -> String + 'static) -> Self {
        self.free = Some(Box::new(act));
        self
    }
}

struct Attacks {
    scene: Scene,
    near: PodRecord,
    resolver: IpAddr,
    /// Where the gateway's tunnel listens.
    endpoints: Vec<SocketAddr>,
    rows: Vec<Value>,
    /// Names that the row asked for.
    named: RefCell<Vec<String>>,
}

impl Attacks {
    fn up() -> Self {
        let scene = Scene::up();
        let near = serving(&scene.lab, "default/near", PodOptions::on(NODE));
        let gateway = scene.lab.node(GATEWAY).unwrap().addresses();
        let document = scene.lab.current_cluster(NODE).unwrap();
        let mut endpoints: Vec<SocketAddr> =
            document.cluster.tunnel_endpoints.into_iter().collect();
        endpoints.retain(|endpoint| gateway.contains(&endpoint.ip()));
        assert!(!endpoints.is_empty(), "the gateway has a tunnel");
        let ports: Vec<String> = endpoints
            .iter()
            .map(SocketAddr::port)
            .chain(CARRIERS)
            .map(|port| port.to_string())
            .collect();
        // Forged packets by their length, which none of WireGuard's has, and before the gateway's own guard.
        let matches = ["ipv4", "ipv6"].map(|family| {
            let ports = ports.join(", ");
            format!("meta nfproto {family} udp dport {{ {ports} }} udp length 14")
        });
        probe(
            &scene.lab.node_namespace(GATEWAY),
            "prerouting priority -300",
            matches,
        );
        // What the kernel waits for the rest of a cut datagram, before it counts that none came.
        let impatient = [
            ("net/ipv4/ipfrag_time", "1"),
            ("net/netfilter/nf_conntrack_frag6_timeout", "1"),
        ];
        scene.lab.node_namespace(NODE).sysctl(&impatient).unwrap();
        let resolver = nobody(250)[0];
        Self {
            scene,
            near,
            resolver,
            endpoints,
            rows: Vec::new(),
            named: RefCell::default(),
        }
    }

    /// What a client prints, whether it fails or not.
    fn run(&self, who: Exec<'_>, command: &[&str]) -> String {
        let output = self.scene.lab.exec(who, command).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn dig(&self, who: Exec<'_>, server: IpAddr, name: &str, more: &[&str]) -> String {
        let at = format!("@{server}");
        let dig = ["dig", "+tries=1", "+time=1", "+short", &at, name];
        self.run(who, &[&dig[..], more].concat())
    }

    fn probes(&self, who: Exec<'_>, to: [SocketAddr; 2], more: &[&str]) -> String {
        let program = lab_program();
        let asked = to.map(|to| {
            let to = to.to_string();
            let args = [&*program, "probe", &to, "--timeout", "250ms"];
            self.run(who, &[&args[..], more].concat())
        });
        asked.concat()
    }

    fn pings(&self, who: Exec<'_>, to: [IpAddr; 2], size: &str) -> String {
        let pinged = to.map(|to| {
            let to = to.to_string();
            let ping = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1"];
            self.run(
                who,
                &[&ping[..], &["-s", size, "-p", "6b6579", &to]].concat(),
            )
        });
        pinged.concat()
    }

    fn forge(
        &self,
        who: Exec<'_>,
        kind: &str,
        from: [SocketAddr; 2],
        to: [SocketAddr; 2],
        more: &[&str],
    ) -> String {
        let program = lab_program();
        for (from, to) in from.into_iter().zip(to) {
            let (from, to) = (from.to_string(), to.to_string());
            let args = [&*program, "forge", kind, "--from", &from, "--to", &to];
            let args = [&args[..], more].concat();
            self.scene.lab.exec_ok(who, &args).unwrap();
        }
        String::new()
    }

    /// Forged datagrams with the pod's own source to a socket of the gateway.
    fn forge_to(&self, who: Exec<'_>, to: SocketAddr) {
        let own = self.own(who)[usize::from(to.is_ipv6())];
        self.forge(who, "udp", [own; 2], [to; 2], &[]);
    }

    /// Each pod's own addresses.
    fn own(&self, who: Exec<'_>) -> [SocketAddr; 2] {
        let pod = match who {
            WEB => &self.scene.web,
            _ => &self.near,
        };
        both(&pod.addresses, 5000)
    }

    /// The MAC address that pods send to.
    fn bridge(&self) -> String {
        let line = "cat /sys/class/net/cni0/address";
        self.scene.lab.shell(NODE, line).unwrap().trim().to_owned()
    }

    fn count(&self, counted: Counted) -> u64 {
        let lab = &self.scene.lab;
        let listed = |table: &str, name: &str| {
            let line = format!(
                "nft -j list counter {table} postern {name} | jq '.nftables[1].counter.packets'"
            );
            lab.shell(NODE, &line).unwrap().trim().parse().unwrap()
        };
        match counted {
            Counted::Packets(name) => listed("inet", name),
            Counted::Frames(name) => listed("bridge", name),
            Counted::Questions(reason) => {
                let series = format!("postern_agent_dns_questions_total{{reason=\"{reason}\"}}");
                lab.agent_metric(NODE, &series).unwrap()
            }
            Counted::Kernel => {
                let line = "nstat -asz IpReasmTimeout Ip6ReasmTimeout | awk '/Reasm/ { sum += $2 } END { print sum }'";
                lab.shell(NODE, line).unwrap().trim().parse().unwrap()
            }
        }
    }

    /// What has got through so far, in front of an act.
    fn arrived(&self, through: Through, to: [IpAddr; 2]) -> u64 {
        let lab: &TestLab = &self.scene.lab;
        let seen = match through {
            Through::Packets => sent(lab, |key| to.contains(&key.destination)),
            Through::Queries => {
                let named = self.named.borrow();
                let asked = named.iter().filter(|name| self.was_asked(name));
                let asked = u64::try_from(asked.count()).unwrap();
                let sent = sent(lab, |key| to.contains(&key.destination));
                return asked + sent.iter().sum::<u64>();
            }
            Through::Answers => [0, 0],
            Through::Gateway => probed(lab, Exec::Node(GATEWAY)),
        };
        seen.iter().sum()
    }

    fn was_asked(&self, name: &str) -> bool {
        let asked = format!("asked.{}", name.to_lowercase());
        let answer = self.dig(Exec::World, self.resolver, &asked, &[]);
        answer.trim().parse::<IpAddr>().is_ok()
    }

    /// What an act gets through, judged once the counter has risen.
    fn done(
        &self,
        attack: &Attack,
        who: Exec<'_>,
        to: [IpAddr; 2],
        judged: impl Fn(u64) -> bool,
    ) -> u64 {
        let before = self.arrived(attack.through, to);
        let act = match (&attack.free, who) {
            (Some(free), NEAR) => free,
            _ => &attack.act,
        };
        let printed = act(self, who, to);
        let answers = printed
            .lines()
            .filter(|line| line.parse::<IpAddr>().is_ok());
        let answers = match attack.through {
            Through::Answers => u64::try_from(answers.count()).unwrap(),
            _ => 0,
        };
        let through = || answers + self.arrived(attack.through, to) - before;
        // A row that misses its count fails below, with the count in its message.
        let _ = wait_until(WAIT_DEADLINE / 3, attack.what, || {
            Ok(judged(through()).then_some(()))
        });
        through()
    }

    /// One row: the selected pod, and then a pod without a policy.
    fn row(&mut self, attack: &Attack, place: u32) {
        self.named.borrow_mut().clear();
        let [own, free] = [0, 1].map(|other| attack.to.unwrap_or(nobody(2 * place + other)));
        let before = self.count(attack.counted);
        let rise = || self.count(attack.counted) - before;
        let through = self.done(attack, WEB, own, |_| rise() >= attack.least);
        let rise = rise();
        let control = match attack.arrives {
            true => self.done(attack, NEAR, free, |through| through >= attack.least.min(2)),
            false => self.done(attack, NEAR, free, |_| true),
        };
        if matches!(attack.through, Through::Queries) {
            // Packets to the row's addresses alone would not show that the world records the name.
            let named = self.named.borrow();
            assert!(self.was_asked(named.last().unwrap()), "{}", attack.what);
        }
        self.rows.push(json!({
            "attack": attack.what, "client": attack.client, "through": through, "counter": attack.counted.name(),
            "rise": rise, "withoutPolicy": control,
        }));
        let row = self.rows.last().unwrap();
        println!("{row}");
        assert_eq!(through, 0, "{row}");
        assert!(rise >= attack.least, "{row}, at least {}", attack.least);
        assert_eq!(control > 0, attack.arrives, "{row}");
    }

    fn table(&self) -> Table {
        let keys = [
            "attack",
            "client",
            "through",
            "counter",
            "rise",
            "withoutPolicy",
        ];
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(keys);
        for row in &self.rows {
            table.add_row(keys.map(|key| row[key].to_string().replace('"', "")));
        }
        table
    }
}

impl Counted {
    fn name(self) -> String {
        match self {
            Self::Packets(name) => format!("inet {name}"),
            Self::Frames(name) => format!("bridge {name}"),
            Self::Questions(reason) => format!("dns_questions {reason}"),
            Self::Kernel => "kernel ReasmTimeout".to_owned(),
        }
    }
}

#[test]
fn no_attack_on_a_policy_of_names_gets_through_and_a_counter_counts_each() {
    let mut attacks = Attacks::up();
    // Flows that the world answers while the policy allows everything.
    let old = nobody(0);
    let flow = |attacks: &Attacks, who: Exec<'_>, to: [IpAddr; 2]| {
        let more = ["--protocol", "udp", "--source-port", OLD_PORT];
        attacks.probes(who, both(&to, 7), &more)
    };
    for who in [WEB, NEAR] {
        let answers = flow(&attacks, who, old);
        assert_eq!(answers.lines().count(), 2, "{answers}");
    }
    let denied = nobody(248);
    attacks.scene.apply(&format!(
        "defaultAction: Deny\n  dns: {{mode: Filter, upstreams: ['{}']}}\n  \
         rules: [{{name: denied, action: Deny, to: [{{cidr: {}/32}}, {{cidr: '{}/128'}}]}}, \
         {{name: apis, action: Allow, to: [{{fqdn: '*.allowed.world.test'}}, {{fqdn: dns.google}}], \
         ports: [{{protocol: TCP, port: 7}}]}}]",
        attacks.resolver, denied[0], denied[1],
    ));
    attacks.scene.published(&["allowed.world.test"]);
    // The one thing that the policy allows.
    let allowed = nobody(247);
    for (address, kind) in allowed.into_iter().zip(["A", "AAAA"]) {
        let found = attacks.dig(WEB, attacks.resolver, &name_of(address), &[kind]);
        assert_eq!(found.trim(), address.to_string());
    }
    let answers = attacks.probes(WEB, both(&allowed, 7), &[]);
    assert_eq!(answers.lines().count(), 2, "{answers}");

    let predates = Attack::new(
        "a UDP flow that is older than the rule",
        "lab probe",
        Counted::Packets("blocked"),
        flow,
    );
    let granted = Attack::forged(
        "fragments to a granted address",
        "fragments",
        &["--count", "1"],
    );
    let rows = vec![predates.to(old), granted.to(allowed)];
    let kinds = [
        rows,
        rows::of_names(),
        rows::other_resolvers(),
        rows::of_packets(denied),
        rows::of_sources(),
        rows::of_nodes(),
    ];
    for (place, attack) in (1..).zip(kinds.into_iter().flatten()) {
        attacks.row(&attack, place);
    }
    println!("{}", attacks.table());
    record_run("attacks", &attacks.rows).unwrap();
    // What the nft counters say is a metric too.
    let lab = &attacks.scene.lab;
    for counter in [
        "blocked",
        "other_resolver",
        "endpoint",
        "encapsulated",
        "service",
        "bind",
    ] {
        wait_until(WAIT_DEADLINE, counter, || {
            let series = format!("postern_agent_counted_packets{{reason=\"{counter}\"}}");
            let packets = lab.agent_metric(NODE, &series)?;
            Ok((packets > 0).then_some(()))
        })
        .unwrap();
    }
    let packets = lab.packets().unwrap();
    assert_eq!(packets.leaked, 0, "{packets:?}");
}
