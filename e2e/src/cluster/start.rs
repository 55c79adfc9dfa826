//! From an empty folder to an API server that is ready: keys, files and processes.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::cluster::forward::Ports;
use crate::cluster::kubeconfig::{server, write, write_secret};
use crate::cluster::{Api, Tools, kubeconfigs, proxy};
use crate::lab::LabError;
use crate::lab::sandbox::command;
use crate::lab::sandbox::netns::Namespace;
use crate::lab::sandbox::process;
use crate::lab::topology::{self, API_PORT};
use crate::lab::{COLLECTOR, Collector, Kubelets, Lab, read_json, uid, wait_until};

/// How long the API server may take until it is ready: three seconds on an idle machine.
pub(super) const READY_DEADLINE: Duration = Duration::from_secs(120);

/// The processes of the control plane, by the names of their logs and control groups.
const PROCESSES: [&str; 6] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "front",
    "forward",
    "kubelet",
];

/// etcd's addresses, on the loopback of the control plane's namespace.
pub(super) const ETCD_CLIENTS: &str = "http://127.0.0.1:2379";
/// Where etcd would talk to its peers, if it had any.
pub(super) const ETCD_PEERS: &str = "http://127.0.0.1:2380";

/// The issuer of service account tokens, as kubeadm names it.
const ISSUER: &str = "kubernetes.default.svc.cluster.local";

/// Controllers that do not run. Ranges of nodes are the lab's own; and the lab's imitation of a kubelet renews no
/// leases, so that a controller of node health would evict every pod.
const fn controllers(kubelets: Kubelets) -> &'static str {
    match kubelets {
        Kubelets::Imitated => {
            "*,-node-ipam-controller,-node-lifecycle-controller,-taint-eviction-controller"
        }
        Kubelets::Upstream => "*,-node-ipam-controller",
    }
}

impl Lab {
    /// The names of the processes of this lab's control plane: ready programs may lack the controllers.
    pub(crate) fn plane_processes(&self) -> Result<Vec<&'static str>, LabError> {
        let controllers = Tools::of(self)?.has("kube-controller-manager");
        let options = self.state()?.options;
        let imitated = options.kubelets == Kubelets::Imitated;
        let there = |name: &&str| match *name {
            "kube-controller-manager" => controllers,
            "kubelet" => imitated,
            _ => true,
        };
        let collector = match options.collector {
            Collector::There => Some(COLLECTOR),
            Collector::Absent => None,
        };
        let names = PROCESSES.into_iter().filter(there);
        Ok(names.chain(collector).collect())
    }

    /// Makes keys, kubeconfigs and the store, and starts everything up to an API server that is ready.
    pub(super) fn start_plane(
        &self,
        tools: &Tools,
        on_stage: &mut dyn FnMut(&str),
    ) -> Result<(), LabError> {
        on_stage("starting etcd and the API server");
        self.make_plane_files(tools)?;
        self.start_etcd()?;
        self.start_front(tools)?;
        self.start_api_server()?;
        self.await_ready()?;
        self.start_controllers()?;
        self.start_forwarder()
    }

    fn make_plane_files(&self, tools: &Tools) -> Result<(), LabError> {
        let dir = self.plane_dir();
        let pki = dir.join("pki");
        fs::create_dir_all(&pki).map_err(LabError::file("create", &pki))?;
        let text = serde_json::to_vec(tools).map_err(LabError::json("the list of programs"))?;
        self.write_atomically(&dir.join("tools.json"), &text)?;
        let (own4, own6) = (
            topology::CONTROL4.to_string(),
            topology::CONTROL6.to_string(),
        );
        let service = topology::KUBERNETES4.to_string();
        let names = [
            "127.0.0.1",
            "localhost",
            &own4,
            &own6,
            &service,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            ISSUER,
        ];
        let mut keys = Command::new(&tools.front);
        keys.args(["keys", "--dir"]).arg(&pki);
        command::run(keys.args(names.iter().flat_map(|name| ["--name", *name])))?;
        let (admin, controllers, proxies) = (uid()?, uid()?, uid()?);
        let mut users = format!(
            "{admin},lab-admin,lab-admin,\"system:masters\"\n\
             {controllers},system:kube-controller-manager,controllers\n\
             {proxies},{},kube-proxies\n",
            proxy::USER
        );
        if self.on_kubelets()? {
            users.push_str(&self.node_tokens()?);
        }
        write_secret(self, &dir.join("tokens.csv"), &users)?;
        write_secret(self, &dir.join("admin.token"), &admin)?;
        let direct = server((std::net::Ipv4Addr::LOCALHOST, API_PORT).into());
        let front = server((topology::CONTROL4, API_PORT).into());
        let both = [("lab", direct.clone()), ("front", front)];
        write(self, &kubeconfigs(self).inside, "lab-admin", &admin, &both)?;
        let path = dir.join("controllers.kubeconfig");
        write(self, &path, "controllers", &controllers, &[("lab", direct)])?;
        self.write_proxy_kubeconfig(&proxies)
    }

    /// Starts etcd, unless it runs.
    pub(super) fn start_etcd(&self) -> Result<(), LabError> {
        let mut command = vec![Tools::of(self)?.program("etcd")?.into_os_string()];
        flags(
            &mut command,
            [
                ("name", "lab".into()),
                ("data-dir", self.etcd_dir().into()),
                ("listen-client-urls", ETCD_CLIENTS.into()),
                ("advertise-client-urls", ETCD_CLIENTS.into()),
                ("listen-peer-urls", ETCD_PEERS.into()),
                ("initial-advertise-peer-urls", ETCD_PEERS.into()),
                ("initial-cluster", format!("lab={ETCD_PEERS}").into()),
                ("log-level", "warn".into()),
            ],
        );
        // The store lives as long as the lab: no crash of the machine has to be survived.
        command.push("--unsafe-no-fsync".into());
        self.start("etcd", &self.namespace("cp"), command)
    }

    fn start_front(&self, tools: &Tools) -> Result<(), LabError> {
        let dir = self.plane_dir();
        let mut command = vec![tools.front.clone().into_os_string(), "serve".into()];
        let listen = [
            format!("{}:{API_PORT}", topology::CONTROL4),
            format!("[{}]:{API_PORT}", topology::CONTROL6),
        ];
        flags(
            &mut command,
            [
                ("listen", listen[0].clone().into()),
                ("listen", listen[1].clone().into()),
                (
                    "upstream",
                    server((std::net::Ipv4Addr::LOCALHOST, API_PORT).into()).into(),
                ),
                ("certificate", dir.join("pki/serving.crt").into()),
                ("key", dir.join("pki/serving.key").into()),
                ("authority", dir.join("pki/ca.crt").into()),
                ("control", dir.join("control.sock").into()),
                ("admin", dir.join("admin.sock").into()),
                ("token-file", dir.join("admin.token").into()),
            ],
        );
        self.start("front", &self.namespace("cp"), command)
    }

    /// Starts kube-apiserver, unless it runs.
    pub(super) fn start_api_server(&self) -> Result<(), LabError> {
        let dir = self.plane_dir();
        let pki = dir.join("pki");
        let mut command = vec![Tools::of(self)?.program("kube-apiserver")?.into_os_string()];
        let services = topology::pair(topology::SERVICES4, topology::SERVICES6);
        let services = services.map(|range| range.to_string()).join(",");
        flags(
            &mut command,
            [
                ("etcd-servers", ETCD_CLIENTS.into()),
                ("bind-address", "127.0.0.1".into()),
                ("secure-port", API_PORT.to_string().into()),
                ("advertise-address", topology::CONTROL4.to_string().into()),
                ("cert-dir", pki.clone().into()),
                ("tls-cert-file", pki.join("serving.crt").into()),
                ("tls-private-key-file", pki.join("serving.key").into()),
                ("service-account-key-file", pki.join("sa.pub").into()),
                (
                    "service-account-signing-key-file",
                    pki.join("sa.key").into(),
                ),
                ("service-account-issuer", format!("https://{ISSUER}").into()),
                ("service-cluster-ip-range", services.into()),
                // Node ports of the lab's cases lie where they like.
                ("service-node-port-range", "1024-65535".into()),
                ("authorization-mode", "Node,RBAC".into()),
                ("enable-admission-plugins", "NodeRestriction".into()),
                // Nobody here knows nodes by their names.
                ("kubelet-preferred-address-types", "InternalIP".into()),
                ("token-auth-file", dir.join("tokens.csv").into()),
                // The endpoint of the service `kubernetes` is front, which the API server knows nothing of.
                ("endpoint-reconciler-type", "none".into()),
                ("allow-privileged", "true".into()),
                ("profiling", "false".into()),
            ],
        );
        if !self.on_kubelets()? {
            // The controller that takes the taints of new nodes away does not run.
            command.push("--disable-admission-plugins=TaintNodesByCondition".into());
        }
        self.start("kube-apiserver", &self.namespace("cp"), command)
    }

    /// Starts kube-controller-manager, unless it runs or there is none among ready programs.
    pub(super) fn start_controllers(&self) -> Result<(), LabError> {
        let tools = Tools::of(self)?;
        if !tools.has("kube-controller-manager") {
            return Ok(());
        }
        let dir = self.plane_dir();
        let mut command = vec![tools.program("kube-controller-manager")?.into_os_string()];
        flags(
            &mut command,
            [
                ("kubeconfig", dir.join("controllers.kubeconfig").into()),
                ("bind-address", "127.0.0.1".into()),
                (
                    "controllers",
                    controllers(self.state()?.options.kubelets).into(),
                ),
                ("leader-elect", "false".into()),
                ("use-service-account-credentials", "true".into()),
                (
                    "service-account-private-key-file",
                    dir.join("pki/sa.key").into(),
                ),
                ("root-ca-file", dir.join("pki/ca.crt").into()),
                ("profiling", "false".into()),
            ],
        );
        self.start("kube-controller-manager", &self.namespace("cp"), command)
    }

    fn start_forwarder(&self) -> Result<(), LabError> {
        let ports = self.plane_dir().join("forward.json");
        // The namespace of whoever called, not of the lab.
        let here = Namespace::net("/proc/self/ns/net");
        self.start_own("forward", &here, &["run", "forward"])?;
        let ports: Ports = wait_until(Duration::from_secs(20), "the forwarder's start", || {
            Ok(read_json(&ports).ok())
        })?;
        let token = self.plane_dir().join("admin.token");
        let token = fs::read_to_string(&token).map_err(LabError::file("read", token))?;
        let at = |port: u16| server((std::net::Ipv4Addr::LOCALHOST, port).into());
        let both = [("lab", at(ports.lab)), ("front", at(ports.front))];
        write(self, &kubeconfigs(self).outside, "lab-admin", &token, &both)
    }

    /// Starts the process that makes pods, unless it runs. It makes namespaces that others must see and processes that
    /// must outlive it, so it has neither a mount nor a PID namespace of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_kubelet(&self) -> Result<(), LabError> {
        let cgroup = self.cgroup("kubelet")?;
        if cgroup.populated() {
            return Ok(());
        }
        let lab = crate::lab::Binaries::locate()?.lab();
        let command: [OsString; 5] = [
            lab.into(),
            "--dir".into(),
            self.dir().into(),
            "run".into(),
            "kubelet".into(),
        ];
        let started = process::start_unconfined(&cgroup, &command, &self.log("kubelet"))?;
        self.update(|state| {
            state.processes.insert("kubelet".to_owned(), started);
            Ok(())
        })
    }

    /// Waits until the API server reports that it is ready.
    pub(super) fn await_ready(&self) -> Result<(), LabError> {
        let api = Api::of(self);
        let what = "a ready API server";
        let ready = wait_until(READY_DEADLINE, what, || {
            if !self.runs("kube-apiserver")? {
                return Err(LabError::Command {
                    command: "kube-apiserver".to_owned(),
                    status: "it has ended".to_owned(),
                    stderr: self.log_tail("kube-apiserver", 3),
                });
            }
            Ok(api.is_ready().then_some(()))
        });
        ready.map_err(|error| match error {
            LabError::Timeout { what, seconds, .. } => LabError::Timeout {
                what,
                seconds,
                detail: format!("; its log: {}", self.log_tail("kube-apiserver", 3)),
            },
            other => other,
        })
    }
}

pub(super) fn flags<const COUNT: usize>(
    command: &mut Vec<OsString>,
    flags: [(&str, OsString); COUNT],
) {
    for (name, value) in flags {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(value);
        command.push(flag);
    }
}
