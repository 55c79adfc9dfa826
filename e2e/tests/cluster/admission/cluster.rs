//! One control plane for all cases that run at the same time, with `deploy/base` applied and no program running.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use postern_e2e::LabError;
use postern_e2e::cluster::{Api, PatchKind};
use postern_e2e::lab::{Programs, UpOptions};
use postern_e2e::proof::harness::{TestLab, wait_until};
use serde_json::{Value, json};

/// Informers and authorizers of the API server follow what was written; this is how long they may take.
pub(crate) const INFORMER_DEADLINE: Duration = Duration::from_secs(60);

/// Where the operator's objects are.
pub(crate) const NAMESPACE: &str = "postern-system";

/// A control plane, and whose turn it is to change what others look at.
pub(crate) struct Cluster {
    lab: TestLab,
    turn: Mutex<()>,
}

const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

/// A binding that is away; it comes back also where the case fails.
pub(crate) struct Unbound<'a> {
    cluster: &'a Cluster,
    binding: Value,
}

impl Unbound<'_> {
    /// Puts it back and waits until it is in force: `refusal` is the answer to what it refuses.
    pub(crate) fn back<T>(self, mut refusal: impl FnMut() -> Result<T, String>) {
        let cluster = self.cluster;
        drop(self);
        cluster.eventually("the binding is in force again", || {
            refusal().is_err_and(|message| message.contains("ValidatingAdmissionPolicy"))
        });
    }
}

impl Drop for Unbound<'_> {
    fn drop(&mut self) {
        let back = self.cluster.create(BINDINGS, &self.binding);
        assert!(std::thread::panicking() || back.is_ok(), "{back:?}");
    }
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// The control plane that another case has up, or a new one. The last case that lets go of it takes it down.
pub(crate) fn cluster() -> Arc<Cluster> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(Cluster::up());
    *shared = Arc::downgrade(&cluster);
    cluster
}

impl Cluster {
    fn up() -> Self {
        let lab = TestLab::up(&UpOptions::on_api_server(1, Programs::Bare)).unwrap();
        lab.kubectl_ok(&["apply", "-k", &base().display().to_string()])
            .unwrap();
        let cluster = Self {
            lab,
            turn: Mutex::new(()),
        };
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        cluster.create("/api/v1/namespaces", &namespace).unwrap();
        cluster.await_policies();
        cluster
    }

    /// Policies are in force a moment after they were written.
    fn await_policies(&self) {
        let intent = json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent",
            "metadata": {"name": "nobody"}, "spec": {"nodeUID": "1"},
        });
        self.eventually("the admission policies are in force", || {
            self.tried("/apis/postern.dev/v1alpha1/nodeintents", &intent)
                .is_err()
        });
    }

    /// Waits until no other case changes what this one looks at.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lab(&self) -> &TestLab {
        &self.lab
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        Api::of(&self.lab).get(path).unwrap()
    }

    /// Whether objects of this collection can be asked for; until then the API server answers 404 and 429.
    pub(crate) fn serves(&self, collection: &str) -> bool {
        matches!(Api::of(&self.lab).get(collection), Ok(Some(_)))
    }

    /// Creates as the administrator.
    pub(crate) fn create(&self, collection: &str, object: &Value) -> Result<Value, String> {
        said(Api::of(&self.lab).create(collection, object))
    }

    /// Whether the administrator could create it; nothing is stored.
    pub(crate) fn tried(&self, collection: &str, object: &Value) -> Result<Value, String> {
        let way = "dryRun=All&fieldValidation=Strict";
        self.create(&format!("{collection}?{way}"), object)
    }

    /// Server-side apply as the administrator.
    pub(crate) fn apply(&self, path: &str, object: &Value) -> Result<Value, String> {
        said(Api::of(&self.lab).patch(path, PatchKind::Apply, object))
    }

    /// Deletes as the administrator.
    pub(crate) fn delete(&self, path: &str) -> Result<(), String> {
        said(Api::of(&self.lab).delete(path, &json!({}))).map(drop)
    }

    pub(crate) fn eventually(&self, what: &str, mut done: impl FnMut() -> bool) {
        wait_until(INFORMER_DEADLINE, what, || Ok(done().then_some(()))).unwrap();
    }

    /// Removes a policy's binding until the value is dropped.
    pub(crate) fn without_binding(&self, policy: &str) -> Unbound<'_> {
        let path = format!("{BINDINGS}/{policy}");
        let mut binding = self.get(&path).unwrap();
        self.delete(&path).unwrap();
        let metadata = binding["metadata"].as_object_mut().unwrap();
        metadata.retain(|name, _| matches!(name.as_str(), "name" | "labels" | "annotations"));
        Unbound {
            cluster: self,
            binding,
        }
    }

    /// Whether a service account of our namespace may do this, by the authorizer's own word.
    pub(crate) fn may(&self, account: &str, attributes: &Value) -> bool {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{NAMESPACE}:{account}"),
                "groups": [
                    "system:serviceaccounts", format!("system:serviceaccounts:{NAMESPACE}"),
                    "system:authenticated",
                ],
                "resourceAttributes": attributes,
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = self.create(path, &review).unwrap();
        answer["status"]["allowed"] == json!(true)
    }
}

pub(crate) fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base")
}

/// The API server's refusal in its own words; anything else is a failure of the case.
fn said<T>(answer: Result<T, LabError>) -> Result<T, String> {
    answer.map_err(|error| match error {
        LabError::ApiRefused { message, .. } => message,
        other => panic!("{other:?}"),
    })
}
