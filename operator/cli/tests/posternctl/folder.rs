//! A publisher's folder with the samples, two nodes and two pods in it.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_compile::snapshot::CompilerSettings;
use postern_intent::possession::{Claim, KeyPurpose, prove};
use postern_intent::verify::{VerifyContext, join, parse_envelope, verify_cluster, verify_intent};
use postern_intent::{Body, TrustedKeys};
use posternctl::files::{PublishOptions, PublishOutcome, publish_once};
use posternctl::keys;

/// A folder with two nodes, of which the first is the gateway of the samples' exit, and a pod on each.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) options: PublishOptions,
    pub(crate) now: Timestamp,
}

/// What the nodes report as their WireGuard keys; the private halves are 32 bytes of 1 and of 2.
pub(crate) const KEYS: [(&str, &str); 2] = [
    ("gw", "pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk="),
    ("worker", "zo060cy2M+x7cMF4FKXHbs0CloUFDTRHRboFhw5YfVk="),
];

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let key = keys::generate().expect("a key");
        let trusted: TrustedKeys = keys::trust_in(std::slice::from_ref(&key)).expect("a key set");
        let options = PublishOptions {
            signing_keys: vec![key],
            trusted,
            settings: CompilerSettings::default(),
        };
        let lab = Self {
            dir,
            options,
            now: "2026-11-23T04:00:00Z".parse().expect("a time"),
        };
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/samples");
        for sample in fs::read_dir(samples).expect("the samples") {
            let sample = sample.expect("a sample").path();
            let to = lab
                .path("manifests")
                .join(sample.file_name().expect("a name"));
            fs::create_dir_all(lab.path("manifests")).expect("a folder");
            fs::copy(&sample, to).expect("a copy");
        }
        lab.write(
            "manifests/nodes.yaml",
            &(node("gw", 1, "gw-1") + &node("worker", 2, "none")),
        );
        lab.write(
            "manifests/pods.yaml",
            &(pod("crawl-gw", "gw", 1) + &pod("crawl-w", "worker", 2)),
        );
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.path(name).parent().expect("a folder")).expect("a folder");
        fs::write(self.path(name), content).expect("a file");
    }

    pub(crate) fn report(&self, node: &str, key: Option<&str>, ledger: u64) {
        let proofs = key.map(|key| self.proofs(node, key));
        let report = serde_json::json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport", "metadata": {"name": node},
            "spec": {"nodeUID": format!("uid-{node}")},
            "status": {"publicKeys": {"wireguard": key, "wireguardProofs": proofs.unwrap_or_default()}, "ledgerSerial": ledger, "appliedSerial": ledger},
        });
        self.write(&format!("reports/{node}.json"), &report.to_string());
    }

    /// What the holder of the key's private half can prove for a node, to the key of `posternctl keygen` where there is one.
    fn proofs(&self, node: &str, key: &str) -> serde_json::Value {
        let place = KEYS.iter().position(|(_, known)| *known == key);
        let private = [u8::try_from(place.expect("a known key") + 1).expect("a number"); 32];
        let claim = Claim {
            node: &node.parse().expect("a name"),
            uid: &format!("uid-{node}").parse().expect("a UID"),
            key: &key.parse().expect("a key"),
            purpose: KeyPurpose::WireGuard,
        };
        let installed = self.path("keys/trust.pem");
        let trusted = match installed.exists() {
            true => keys::read_trusted_keys(&[installed]).expect("a key set"),
            false => self.options.trusted.clone(),
        };
        let proofs = prove(&private, &trusted, &claim).into_iter();
        proofs
            .map(|(id, mac)| serde_json::json!({"keyId": id, "mac": mac.to_string()}))
            .collect()
    }

    pub(crate) fn report_keys(&self) {
        for (node, key) in KEYS {
            self.report(node, Some(key), 0);
        }
    }

    pub(crate) fn publish(&self) -> PublishOutcome {
        publish_once(self.dir.path(), &self.options, self.now).expect("a run")
    }

    pub(crate) fn bytes(&self, node: &str) -> Vec<u8> {
        fs::read(self.path(&format!("intents/{node}/intent.dsse.json"))).expect("an envelope")
    }

    /// The body as the agent of the node would accept it.
    pub(crate) fn body(&self, node: &str) -> Body {
        let envelope = parse_envelope(&self.bytes(node)).expect("an envelope");
        let identity = postern_intent::body::NodeIdentity {
            name: node.parse().expect("a name"),
            uid: format!("uid-{node}").parse().expect("a UID"),
        };
        let context = VerifyContext {
            node: &identity,
            keys: &self.options.trusted,
            now: self.now,
            last: None,
        };
        let intent = verify_intent(&envelope, &context).expect("a document that its node accepts");
        let path = self.path(&format!("intents/{node}/cluster.dsse.json"));
        let cluster = parse_envelope(&fs::read(path).expect("an envelope")).expect("an envelope");
        let cluster = verify_cluster(&cluster, &self.options.trusted, self.now, None);
        let cluster = cluster.expect("a document that every node accepts");
        join(&intent, Some(&cluster))
            .expect("documents that fit")
            .get()
            .clone()
    }
}

fn node(name: &str, number: u8, label: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, uid: uid-{name}, labels: {{postern.dev/exit: {label}}}}}\n\
         spec: {{podCIDRs: [10.244.{number}.0/24, 'fd00:10:244:{number}::/64']}}\n\
         status: {{addresses: [{{type: InternalIP, address: 192.0.2.{number}}}, \
         {{type: InternalIP, address: 'fd00:2::{number}'}}]}}\n---\n"
    )
}

fn pod(name: &str, node: &str, number: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: crawlers, name: {name}, uid: pod-{name}, labels: {{app: crawler}}}}\n\
         spec: {{nodeName: {node}, containers: []}}\nstatus: {{podIPs: [{{ip: 10.244.{number}.7}}]}}\n---\n"
    )
}
