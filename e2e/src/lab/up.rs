//! `up`: from an empty folder to a running cluster with a world behind it.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::cluster::{self, Tools};
use crate::lab::LabError;
use crate::lab::sandbox::cgroup::Cgroup;
use crate::lab::sandbox::netns::{self, Namespace};
use crate::lab::topology::{self, FIRST_OWN, Node, OUTSIDERS};
use crate::lab::{
    Binaries, Cluster, Collector, Kubelets, Lab, LabState, PodOptions, Programs, Service,
    TrafficPolicy, UpOptions, objects, uid, wait_until,
};
use crate::proof::monitor;

/// How long the lab's own helpers may take to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(20);

impl Lab {
    /// Builds a lab in this folder. Whatever fails, nothing half-made stays: what was made is taken down again.
    ///
    /// Each stage is passed to `on_stage` as one line.
    ///
    /// # Errors
    /// `NotRoot`, `LabExists`, or the first step that failed.
    pub fn up(
        dir: &Path,
        options: &UpOptions,
        on_stage: &mut dyn FnMut(&str),
    ) -> Result<Self, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let lab = Self::at(dir)?;
        if lab.document().exists() {
            return Err(LabError::LabExists { dir: lab.dir });
        }
        check(options)?;
        on_stage("building the programs");
        Binaries::locate()?.build(options)?;
        let tools = match options.cluster {
            Cluster::Standalone => None,
            Cluster::ApiServer => Some(cluster::prepare(on_stage)?),
        };
        match lab.make(options, tools.as_ref(), on_stage) {
            Ok(()) => Ok(lab),
            Err(error) => {
                // The first error is the one to tell; what the clean-up may say on top of it would hide it.
                let _ = lab.down();
                Err(error)
            }
        }
    }

    fn make(
        &self,
        options: &UpOptions,
        tools: Option<&Tools>,
        on_stage: &mut dyn FnMut(&str),
    ) -> Result<(), LabError> {
        on_stage("making namespaces and links");
        let state = self.begin(options)?;
        self.make_namespaces(&state)?;
        self.wire(&state)?;
        self.make_keys()?;
        on_stage("starting the world and its counters");
        self.start_world(&state)?;
        match tools {
            Some(tools) => self.start_on_api_server(tools, on_stage)?,
            None => self.start_standalone(&state, on_stage)?,
        }
        if self.on_kubelets()? {
            // It has a Deployment, which waits for a node that is sealed.
            return Ok(());
        }
        on_stage("starting the cluster's resolver");
        self.start_resolver(&state.nodes[0])
    }

    fn start_standalone(
        &self,
        state: &LabState,
        on_stage: &mut dyn FnMut(&str),
    ) -> Result<(), LabError> {
        for node in &state.nodes {
            self.apply(vec![objects::node_object(node)])?;
        }
        for namespace in ["default", "kube-system"] {
            self.ensure_kube_namespace(namespace)?;
        }
        if state.options.programs == Programs::Postern {
            on_stage("starting publisher, agents and tunnel processes");
            self.start_postern(&state.nodes)?;
        }
        Ok(())
    }

    fn begin(&self, options: &UpOptions) -> Result<LabState, LabError> {
        let id: String = uid()?.chars().take(8).collect();
        let nodes = new_nodes(options)?;
        self.make_folders(&nodes)?;
        if options.kubelets == Kubelets::Upstream {
            nodes
                .iter()
                .try_for_each(|node| self.link_agent_folders(node))?;
        }
        let cgroup = Cgroup::create_top(&format!("postern-lab-{id}"))?
            .path()
            .to_owned();
        let state = LabState {
            id,
            created: Timestamp::now(),
            options: options.clone(),
            cgroup,
            nodes,
            next_world: FIRST_OWN,
            services: Vec::new(),
            namespaces: Vec::new(),
            processes: std::collections::BTreeMap::new(),
        };
        self.write(&state)?;
        Ok(state)
    }

    fn make_folders(&self, nodes: &[Node]) -> Result<(), LabError> {
        for folder in [
            "manifests",
            "intents",
            "reports",
            "keys",
            "pods",
            "log",
            "nodes",
            "run",
            "tmp",
            "history",
        ] {
            let path = self.dir.join(folder);
            fs::create_dir_all(&path).map_err(LabError::file("create", path))?;
        }
        for node in nodes {
            for path in [
                self.intents(&node.name),
                self.node_dir(&node.name).join("run"),
            ] {
                fs::create_dir_all(&path).map_err(LabError::file("create", path))?;
            }
        }
        Ok(())
    }

    fn make_namespaces(&self, state: &LabState) -> Result<(), LabError> {
        netns::prepare(&self.dir.join("ns"), &self.dir.join("mnt"))?;
        for name in ["lan"].iter().chain(uplinks(state)) {
            self.make_namespace(&self.namespace(name))?;
        }
        for node in &state.nodes {
            self.make_namespace(&self.node_namespace(&node.name))?;
        }
        Ok(())
    }

    /// Makes a namespace and remembers its inode number, so that `down` can look for leftovers.
    pub(crate) fn make_namespace(&self, namespace: &Namespace) -> Result<(), LabError> {
        namespace.create()?;
        let path = namespace.path();
        let inode = path.metadata().map_err(LabError::file("read", path))?.ino();
        self.update(|state| {
            state.namespaces.push(inode);
            Ok(())
        })?;
        namespace.ip("link set lo up\n")
    }

    fn wire(&self, state: &LabState) -> Result<(), LabError> {
        let nodes = &state.nodes;
        let lan = self.namespace("lan");
        lan.sysctl(&[
            ("net/bridge/bridge-nf-call-iptables", "0"),
            ("net/bridge/bridge-nf-call-ip6tables", "0"),
        ])?;
        let mut lines = String::from(
            "link add br0 type bridge stp_state 0 mcast_snooping 0\nlink set br0 up\n",
        );
        let own = uplinks(state).iter().copied();
        for name in own.chain(nodes.iter().map(|node| node.name.as_str())) {
            let peer = self.namespace(name);
            let peer = peer.path().display();
            lines.push_str(&format!(
                "link add name {name} type veth peer name eth0 netns {peer}\n"
            ));
            // The counters count from the first frame on: the port comes up when they are there.
            lines.push_str(&format!("link set {name} master br0\n"));
        }
        lan.ip(&lines)?;
        for node in nodes {
            self.wire_node(node, nodes)?;
        }
        self.wire_world(nodes)?;
        self.wire_neighbour("host", topology::HOST4, topology::HOST6, nodes)?;
        if state.options.cluster == Cluster::ApiServer {
            self.wire_neighbour("cp", topology::CONTROL4, topology::CONTROL6, nodes)?;
        }
        Ok(())
    }

    fn wire_node(&self, node: &Node, nodes: &[Node]) -> Result<(), LabError> {
        let namespace = self.node_namespace(&node.name);
        namespace.sysctl(&[
            // Duplicate address detection would keep each new IPv6 address unusable for seconds.
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/eth0/accept_dad", "0"),
            ("net/ipv6/conf/eth0/accept_ra", "0"),
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/bridge/bridge-nf-call-iptables", "1"),
            ("net/bridge/bridge-nf-call-ip6tables", "1"),
        ])?;
        let (four, six) = (node.ipv4(), node.ipv6());
        let mut lines = format!(
            "link set eth0 up\naddr add {four}/24 dev eth0\naddr add {six}/64 dev eth0 nodad\n"
        );
        lines.push_str(&format!("route add default via {}\n", topology::WORLD_LAN4));
        lines.push_str(&format!("route add ::/0 via {}\n", topology::WORLD_LAN6));
        for other in nodes.iter().filter(|other| other.name != node.name) {
            lines.push_str(&pod_routes(other));
        }
        namespace.ip(&lines)
    }

    /// The world answers on all its addresses. It can also answer raw pod addresses and reach pods directly: a packet
    /// that leaks without translation then makes a working connection, which is the harder case.
    fn wire_world(&self, nodes: &[Node]) -> Result<(), LabError> {
        let namespace = self.namespace("world");
        namespace.sysctl(&[
            ("net/ipv6/conf/eth0/accept_dad", "0"),
            ("net/ipv6/conf/eth0/accept_ra", "0"),
            ("net/ipv6/ip_nonlocal_bind", "1"),
            // The kernel would answer only some of the packets of a pod that pings 200 times a second.
            ("net/ipv4/icmp_ratelimit", "0"),
            ("net/ipv6/icmp/ratelimit", "0"),
        ])?;
        let (four, six) = (topology::WORLD_LAN4, topology::WORLD_LAN6);
        let mut lines = format!(
            "link set eth0 up\naddr add {four}/24 dev eth0\naddr add {six}/64 dev eth0 nodad\n"
        );
        lines.push_str(&format!("route add local {} dev lo\n", topology::WORLD4));
        lines.push_str(&format!("route add local {} dev lo\n", topology::WORLD6));
        lines.extend(nodes.iter().map(pod_routes));
        namespace.ip(&lines)
    }

    /// Another machine on the LAN, such as the control plane: it reaches nodes and pods, and the world by its gateway.
    fn wire_neighbour(
        &self,
        name: &str,
        four: Ipv4Addr,
        six: Ipv6Addr,
        nodes: &[Node],
    ) -> Result<(), LabError> {
        let namespace = self.namespace(name);
        namespace.sysctl(&[
            ("net/ipv6/conf/eth0/accept_dad", "0"),
            ("net/ipv6/conf/eth0/accept_ra", "0"),
        ])?;
        let mut lines = format!(
            "link set eth0 up\naddr add {four}/24 dev eth0\naddr add {six}/64 dev eth0 nodad\n"
        );
        lines.push_str(&format!("route add default via {}\n", topology::WORLD_LAN4));
        lines.push_str(&format!("route add ::/0 via {}\n", topology::WORLD_LAN6));
        lines.extend(nodes.iter().map(pod_routes));
        namespace.ip(&lines)
    }

    fn start_world(&self, state: &LabState) -> Result<(), LabError> {
        let lan = self.namespace("lan");
        self.start_own("monitor", &lan, &["run", "monitor"])?;
        wait_until(READY_DEADLINE, "the start of the packet capture", || {
            Ok(monitor::synchronise(self).ok().map(drop))
        })?;
        lan.nft(&monitor::counting_set())?;
        let nodes = state.nodes.iter().map(|node| node.name.as_str());
        let ports = uplinks(state).iter().copied().chain(nodes);
        let lines: String = ports.map(|port| format!("link set {port} up\n")).collect();
        lan.ip(&lines)?;
        for name in ["world", "host"] {
            self.start_own(name, &self.namespace(name), &["run", "world"])?;
        }
        for (name, address) in [
            ("world", topology::world_address(0).0),
            ("host", topology::HOST4),
        ] {
            let namespace = self.namespace(name);
            let what = format!("the start of the services of {name}");
            wait_until(READY_DEADLINE, &what, || {
                namespace.run(|| Ok(TcpStream::connect((address, 7)).ok().map(drop)))
            })?;
        }
        Ok(())
    }

    fn start_resolver(&self, node: &Node) -> Result<(), LabError> {
        let lab = Binaries::locate()?.lab();
        let dir = self.dir.display().to_string();
        let command = vec![
            lab.into(),
            "--dir".into(),
            dir.into(),
            "run".into(),
            "resolver".into(),
        ];
        let options = PodOptions {
            labels: vec![("k8s-app".to_owned(), "kube-dns".to_owned())],
            command,
            ..PodOptions::on(&node.name)
        };
        let pod = self.create_pod("kube-system", "resolver", &options)?;
        if self.on_api_server()? {
            self.create_resolver_service()?;
        }
        for (name, service, address) in [
            ("kube-dns", topology::DNS4.into(), pod.addresses[0]),
            ("kube-dns6", topology::DNS6.into(), pod.addresses[1]),
        ] {
            self.add_service(Service {
                name: name.to_owned(),
                cluster_ip: Some(service),
                port: 53,
                to_address: address,
                to_port: 53,
                policy: TrafficPolicy::Cluster,
            })?;
        }
        if self.on_api_server()? {
            return Ok(());
        }
        self.apply(vec![json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "kube-system", "name": "kube-dns"},
            "spec": {
                "clusterIP": topology::DNS4, "clusterIPs": [topology::DNS4.to_string(), topology::DNS6.to_string()],
                "selector": {"k8s-app": "kube-dns"}, "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
            },
        })])?;
        Ok(())
    }
}

fn new_nodes(options: &UpOptions) -> Result<Vec<Node>, LabError> {
    let names = topology::node_names(options.nodes, options.gateways);
    let nodes = (1..).zip(names).map(|(number, (name, gateway))| {
        Ok(Node {
            name,
            number,
            gateway,
            uid: uid()?,
        })
    });
    nodes.collect()
}

/// What is on the LAN besides the nodes.
fn uplinks(state: &LabState) -> &'static [&'static str] {
    match state.options.cluster {
        Cluster::Standalone => &OUTSIDERS[..2],
        Cluster::ApiServer => &OUTSIDERS,
    }
}

fn pod_routes(node: &Node) -> String {
    format!(
        "route add {} via {}\nroute add {} via {}\n",
        node.pods4(),
        node.ipv4(),
        node.pods6(),
        node.ipv6()
    )
}

fn check(options: &UpOptions) -> Result<(), LabError> {
    if options.nodes == 0 || options.nodes > 100 || options.gateways > options.nodes {
        let why = "there are 1 to 100 nodes, and the gateways are counted among them".to_owned();
        let value = format!("{} nodes, {} gateways", options.nodes, options.gateways);
        return Err(LabError::Invalid {
            what: "number of nodes",
            value,
            why,
        });
    }
    if options.collector == Collector::There && options.cluster == Cluster::Standalone {
        return Err(LabError::Invalid {
            what: "collector",
            value: "standalone".to_owned(),
            why: "the operators make traces, and the publisher makes none".to_owned(),
        });
    }
    Ok(())
}
