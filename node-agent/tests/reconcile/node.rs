//! An agent on a host in memory, with documents by the channel of their source.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use futures::Stream;
use jiff::{SignedDuration, Timestamp};
use postern_agent::agent::run::Wakers;
use postern_agent::agent::sessions::ExternalSessions;
use postern_agent::agent::state::{
    Agent, AgentOptions, AgentOutput, DocumentState, DurableState, ExitWatch, KernelState,
    LedgerState, note_damage,
};
use postern_agent::agent::{Activation, run, state::Track};
use postern_agent::audit::AuditTrail;
use postern_agent::bindings::BindingStore;
use postern_agent::clock::Clock;
use postern_agent::dns::DnsCounters;
use postern_agent::egress::EgressHandle;
use postern_agent::endpoints::EndpointHandle;
use postern_agent::inbox::{DocumentKind, Inbox, SourceDocuments};
use postern_agent::isolation::IsolationHandle;
use postern_agent::ledger::{Ledger, LedgerReading};
use postern_agent::metrics::AgentMetrics;
use postern_agent::options::{Plugin, Repair};
use postern_agent::probe::ProbeHandle;
use postern_agent::records::{self, RecordMetrics};
use postern_agent::report::{LatestReport, ReportPublisher};
use postern_agent::resolver::{DnsHandle, DnsTables};
use postern_agent::wireguard_key;
use postern_cni::protocol::{Add, CniResponse};
use postern_crds::conditions::{ConditionType, Reason};
use postern_crds::node_report::{NodeReportStatus, ScopeReport};
use postern_host::error::errno;
use postern_host_testing::fake::{Call, FakeHost};
use postern_host_testing::patience::Patience;
use postern_intent::possession::KeyPurpose;
use postern_intent::sign::{sign_cluster, sign_intent};
use postern_intent::{Body, ScopeId, TrustedKeys};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use crate::ALWAYS;
use crate::fixture::{link, settings, word};

pub(crate) struct Node {
    pub(crate) agent: Agent<FakeHost>,
    pub(crate) host: FakeHost,
    pub(crate) documents: watch::Sender<SourceDocuments>,
    pub(crate) reports: watch::Receiver<LatestReport>,
    folder: TempDir,
    found: LedgerReading,
    _names: DnsTables,
}

/// An uplink, a bridge and three pods' links on it.
fn host() -> FakeHost {
    let host = FakeHost::new();
    host.has_link(link(2, "eth0", "", None));
    host.has_link(link(3, "cni0", "bridge", None));
    for (index, name) in [(4, "veth1"), (5, "veth2"), (6, "veth3")] {
        host.has_link(link(index, name, "veth", Some("cni0")));
    }
    host.has_uplink('4', word("eth0"));
    host.has_uplink('6', word("eth0"));
    host
}

/// What the plugin asks for a pod behind a link.
pub(crate) fn add(namespace: &str, name: &str, link: &str) -> Add {
    let number = link.trim_start_matches("veth");
    Add {
        container_id: format!("c-{name}"),
        ifname: "eth0".to_owned(),
        netns: "/run/netns/x".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        addresses: vec![word(&format!(
            "10.244.1.{}",
            number.parse::<u8>().unwrap() + 1
        ))],
        host_interface: Some(link.to_owned()),
        mac: Some("0a:58:0a:f4:01:02".to_owned()),
    }
}

/// Whom the node trusts.
pub(crate) fn signer() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

impl Node {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::over(folder, host(), watch::Sender::default())
    }

    /// A node without nft.
    pub(crate) fn without_nft() -> Self {
        let node = Self::new();
        node.loses_nft();
        node
    }

    /// nft is removed from the node.
    pub(crate) fn loses_nft(&self) {
        for call in [Call::ReadFirewall, Call::ChangeFirewall] {
            self.host.fails(call, 1, ALWAYS, errno::EOPNOTSUPP);
        }
    }

    /// The agent dies and another one starts on its files and its host, with the same source of documents.
    pub(crate) fn restarts(self) -> Self {
        Self::over(self.folder, self.host, self.documents)
    }

    fn over(folder: TempDir, host: FakeHost, documents: watch::Sender<SourceDocuments>) -> Self {
        let path = folder.path();
        let pem = signer()
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .unwrap();
        let keys = TrustedKeys::installed([pem.as_str()]).unwrap();
        let (ledger, found) = Ledger::open(path);
        let (key, key_damage) = wireguard_key::load_or_make(path, KeyPurpose::WireGuard).unwrap();
        let (credentials_key, _) =
            wireguard_key::load_or_make(path, KeyPurpose::Credentials).unwrap();
        let (bindings, binding_damage) = BindingStore::open(path, path);
        let damages = [
            key_damage
                .map(|error| note_damage(ConditionType::Programmed, Reason::NoPeerKey, &error)),
            binding_damage
                .map(|error| note_damage(ConditionType::SourceBinding, Reason::Unbound, &error)),
        ];
        host.starts_the_tunnel_process(key.public);
        let (dns, names) = DnsHandle::pair(DnsCounters::default());
        let (reporter, reports) = watch::channel(None);
        let agent = Agent {
            host: host.clone(),
            options: AgentOptions {
                node: crate::fixture::client().node,
                settings: settings(),
                plugin: Plugin::Expected,
                repair: Repair::On,
            },
            clock: Clock::new(None),
            documents: DocumentState::new(keys.clone(), keys, Inbox::new(documents.subscribe())),
            memory: DurableState {
                ledger,
                ledger_lost: LedgerState::Kept,
                bindings,
                key,
                credentials_key,
            },
            kernel: KernelState::default(),
            exits: ExitWatch::new(ProbeHandle::pair().0),
            sessions: ExternalSessions::new(EndpointHandle::pair().0),
            uplinks: IsolationHandle::absent(),
            egress: EgressHandle::absent(),
            waiting: Vec::new(),
            dns,
            output: AgentOutput {
                audit: AuditTrail::open(None).unwrap(),
                report: ReportPublisher::new(reporter),
                metrics: AgentMetrics::registered().0,
                counters: BTreeMap::new(),
                damages: damages.into_iter().flatten().collect(),
                preflight: None,
                records: records::ends(RecordMetrics::default(), None).0,
            },
        };
        Self {
            agent,
            host,
            documents,
            reports,
            folder,
            found,
            _names: names,
        }
    }

    /// The agent's loop, which ends on a signal only.
    pub(crate) async fn goes_on<S>(self, wakers: Wakers<S>)
    where
        S: Stream<Item = ()> + Unpin,
    {
        run(self.agent, self.found, wakers).await.unwrap();
    }

    /// The first runs of an agent.
    pub(crate) async fn starts(&mut self) {
        self.starts_looking(Duration::ZERO).await;
    }

    /// The same, with a look for a newer intent that takes so long at most.
    pub(crate) async fn starts_looking(&mut self, first_look: Duration) {
        self.agent.start(&self.found, first_look).await;
    }

    /// The source has this document now.
    pub(crate) fn puts(&self, document: DocumentKind, envelope: &impl serde::Serialize) {
        let bytes = serde_json::to_vec(envelope).unwrap();
        self.documents
            .send_modify(|documents| drop(documents.insert(document, bytes)));
    }

    /// The source has no such document any more.
    pub(crate) fn removes(&self, document: DocumentKind) {
        self.documents
            .send_modify(|documents| drop(documents.remove(&document)));
    }

    /// The two documents of a body, issued now and signed by the key that the node trusts.
    pub(crate) fn puts_body(&self, body: Body) {
        self.puts_body_by(&signer(), body);
    }

    /// The same, signed by another key.
    pub(crate) fn puts_body_by(&self, key: &SigningKey, body: Body) {
        self.puts_body_for(key, body, SignedDuration::from_hours(1));
    }

    /// The same, valid for so long.
    pub(crate) fn puts_body_for(&self, key: &SigningKey, mut body: Body, valid: SignedDuration) {
        body.issued_at = Timestamp::now();
        body.not_after = Timestamp::now() + valid;
        let (intent, cluster) = body.documents();
        let keys = std::slice::from_ref(key);
        self.puts(
            DocumentKind::Cluster,
            &sign_cluster(&cluster, keys).unwrap(),
        );
        self.puts(DocumentKind::Intent, &sign_intent(&intent, keys).unwrap());
    }

    /// A file of the agent's state.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A body comes, signed, and a few runs follow.
    pub(crate) async fn takes(&mut self, body: Body) {
        self.puts_body(body);
        self.agent.take_documents();
        assert!(
            self.agent.documents.verified.is_some(),
            "refused: {:?}",
            self.agent.documents.refusals
        );
        self.runs(Activation::IntentChanged).await;
    }

    /// As many runs as a scope needs from a body to its last state.
    pub(crate) async fn runs(&mut self, activation: Activation) {
        for _ in 0..4 {
            self.agent.reconcile(activation).await;
        }
    }

    /// CNI ADD of a pod whose class is known or that nobody guards.
    pub(crate) async fn adds(&mut self, namespace: &str, name: &str, link: &str) -> CniResponse {
        let mut answer = self.asks(namespace, name, link).await;
        answer.try_recv().expect("an answer at once")
    }

    /// CNI ADD of a pod, with whatever becomes of it.
    pub(crate) async fn asks(
        &mut self,
        namespace: &str,
        name: &str,
        link: &str,
    ) -> oneshot::Receiver<CniResponse> {
        let (sender, answer) = oneshot::channel();
        let add = add(namespace, name, link);
        self.agent.cni_add(&add, sender).await;
        answer
    }

    pub(crate) fn track(&self) -> &Track {
        let id: ScopeId = crate::fixture::scope_id();
        self.agent.kernel.scopes.get(&id).expect("the scope")
    }

    pub(crate) fn scope(&self) -> ScopeReport {
        self.agent
            .status()
            .scopes
            .into_iter()
            .next()
            .expect("the scope")
    }

    /// The published report, once it has this condition. Reports are a second apart.
    pub(crate) fn reports(&mut self, kind: &str, status: &str, reason: &str) -> NodeReportStatus {
        let patience = Patience::of(Duration::from_secs(5));
        loop {
            self.agent.output.report.flush();
            let report = self.reports.borrow().clone();
            let report = report.unwrap().status.clone().unwrap();
            let said = report
                .conditions
                .iter()
                .find(|condition| condition.type_ == kind);
            if said.is_some_and(|said| said.status == status && said.reason == reason) {
                return report;
            }
            assert!(!patience.is_over(), "{kind}: {said:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
