//! A thousand policies in one `kubectl apply`, two hundred pods at once, and one object among them that cannot be read:
//! everything converges, for a bounded price, and nothing is written at rest.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster crowd::`, as root; the first run builds Kubernetes. The
//! figures are printed, and kept in the run's `proof.json`.

mod figures;
mod sizes;

use std::time::{Duration, Instant};

use postern_e2e::LabError;
use postern_e2e::cluster::{Api, PatchKind};
use postern_e2e::lab::{Lab, Programs, UpOptions};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, exit, wait_until};
use serde_json::{Value, json};

use crate::crowd::figures::{asked, judge, price, rest, work, writes};
use crate::crowd::sizes::{ALL_POLICIES, NAMESPACES, PODS, POLICIES};
use crate::plane::{await_account, await_quiet, condition};

/// The object that cannot be read. It has the highest priority for a pod, which no other policy may take over.
const POISON: (usize, usize) = (NAMESPACES - 1, POLICIES - 1);

/// How long all of it may take on a machine that does other work too.
const CONVERGENCE: Duration = Duration::from_secs(300);

const POLICY_PATH: &str = "/apis/postern.dev/v1alpha1/egresspolicies";
const DEFINITION: &str = "egresspolicies.postern.dev";

fn namespace(number: usize) -> String {
    format!("crowd-{number}")
}

/// Policy `number` of a namespace, as a user writes it.
fn policy(namespace: usize, number: usize, action: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{namespace: {}, name: p{number:02}}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: a{}}}}}\n  priority: {}\n  \
         route: {{type: Exit, exitNodes: [{{name: eu}}]}}\n  defaultAction: {action}\n---\n",
        self::namespace(namespace),
        number % PODS,
        number / PODS,
    )
}

fn crowd() -> String {
    let each = (0..NAMESPACES).flat_map(|space| (0..POLICIES).map(move |number| (space, number)));
    each.map(|place| {
        let action = if place == POISON { "Perhaps" } else { "Allow" };
        policy(place.0, place.1, action)
    })
    .collect()
}

fn lab_with_an_exit() -> TestLab {
    let lab = TestLab::up(&UpOptions::on_api_server(3, Programs::Postern)).unwrap();
    // Pods are objects here: what the kubelet would make of them is not the question.
    lab.kill("kubelet").unwrap();
    let spaces: String = (0..NAMESPACES)
        .map(|number| {
            let name = namespace(number);
            format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n")
        })
        .collect();
    lab.apply_yaml(&(spaces + &exit("eu", "gw-1", ""))).unwrap();
    for number in 0..NAMESPACES {
        await_account(&lab, &namespace(number)).unwrap();
    }
    lab
}

/// Lets the API server take any word as default action, as a looser definition of another version would, while `act`
/// runs; then the true definition is back.
fn with_looser_definition(lab: &Lab, act: impl FnOnce()) {
    let path =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/defaultAction/enum";
    let patch = json!([{"op": "remove", "path": path}]).to_string();
    lab.kubectl_ok(&["patch", "crd", DEFINITION, "--type=json", "-p", &patch])
        .unwrap();
    await_poison(lab, Admitted::Yes);
    act();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/yaml");
    lab.kubectl_ok(&["apply", "--server-side", "--force-conflicts", "-f", folder])
        .unwrap();
    await_poison(lab, Admitted::No);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Admitted {
    Yes,
    No,
}

/// Waits until the API server would let in an object that cannot be read, or would refuse it.
fn await_poison(lab: &Lab, admitted: Admitted) {
    let file = lab.dir().join("poison.yaml");
    std::fs::write(&file, policy(0, POLICIES, "Perhaps")).unwrap();
    let file = file.display().to_string();
    let arguments = ["create", "--dry-run=server", "-f", &file];
    wait_until(WAIT_DEADLINE, "the definition in force", || {
        let let_in = lab.kubectl_ok(&arguments).is_ok();
        Ok((let_in == (admitted == Admitted::Yes)).then_some(()))
    })
    .unwrap();
}

/// Every pod, bound to its node and running, from several threads.
fn create_pods(lab: &Lab) {
    let node = lab.node("n1").unwrap();
    std::thread::scope(|scope| {
        for space in 0..NAMESPACES {
            let (api, node) = (Api::of(lab), node.clone());
            scope.spawn(move || {
                let path = format!("/api/v1/namespaces/{}/pods", namespace(space));
                for number in 0..PODS {
                    let name = format!("a{number}");
                    let pod = json!({
                        "apiVersion": "v1", "kind": "Pod",
                        "metadata": {"name": name, "labels": {"app": name}},
                        "spec": {
                            "nodeName": "n1", "automountServiceAccountToken": false,
                            "containers": [{"name": "main", "image": "none"}],
                        },
                    });
                    api.create(&path, &pod).unwrap();
                    let place = u32::try_from(20 + space * PODS + number).unwrap();
                    let v4 = node.pods4().hosts().nth(place as usize).unwrap();
                    let v6 = u128::from(node.pods6().network()) + u128::from(place);
                    let v6 = std::net::Ipv6Addr::from(v6);
                    let status = json!({"status": {
                        "phase": "Running", "podIP": v4, "podIPs": [{"ip": v4}, {"ip": v6}],
                    }});
                    api.patch(
                        &format!("{path}/{name}/status"),
                        PatchKind::Strategic,
                        &status,
                    )
                    .unwrap();
                }
            });
        }
    });
}

/// The objects without the expected status.
fn unconverged(lab: &Lab) -> Result<Vec<String>, LabError> {
    let list = Api::of(lab)
        .get(&format!("{POLICY_PATH}?resourceVersion=0"))?
        .unwrap();
    let items = list["items"].as_array().unwrap();
    let mut not_yet: Vec<String> = items.iter().filter_map(objection).collect();
    if items.len() != ALL_POLICIES {
        not_yet.push(format!("{} policies", items.len()));
    }
    let intent = Api::of(lab)
        .get("/apis/postern.dev/v1alpha1/nodeintents/n1")?
        .unwrap();
    let report = Api::of(lab)
        .get("/apis/postern.dev/v1alpha1/nodereports/n1")?
        .unwrap();
    let verified =
        condition(&report, "Verified").is_some_and(|verified| verified["status"] == "True");
    if !verified || report["status"]["appliedSerial"] != intent["spec"]["serial"] {
        not_yet.push(format!(
            "n1 of serial {}: {report}",
            intent["spec"]["serial"]
        ));
    }
    Ok(not_yet)
}

/// The expected status of a policy: of five that select a pod, one decides; the one that cannot be read blocks.
fn objection(policy: &Value) -> Option<String> {
    let name = policy["metadata"]["name"].as_str()?;
    let space = policy["metadata"]["namespace"].as_str()?;
    let place: usize = name.strip_prefix('p')?.parse().ok()?;
    let poison = (namespace(POISON.0).as_str(), POISON.1) == (space, place);
    let wins = place >= POLICIES - PODS;
    let (told, counts) = match (poison, wins) {
        (true, _) => (
            [
                ("Accepted", "False", "Invalid"),
                ("Ready", "False", "PolicyRefused"),
            ],
            [
                ("selected", 1),
                ("blocked", 1),
                ("enforced", 0),
                ("overridden", 0),
            ],
        ),
        (false, true) => (
            [
                ("Programmed", "True", "Programmed"),
                ("Ready", "True", "Ready"),
            ],
            [
                ("selected", 1),
                ("blocked", 0),
                ("enforced", 1),
                ("overridden", 0),
            ],
        ),
        (false, false) => (
            [
                ("Programmed", "False", "Overridden"),
                ("Ready", "False", "Overridden"),
            ],
            [
                ("selected", 0),
                ("blocked", 0),
                ("enforced", 0),
                ("overridden", 1),
            ],
        ),
    };
    let generation = &policy["metadata"]["generation"];
    let conditions = policy["status"]["conditions"].as_array();
    let current = conditions.is_some_and(|all| {
        all.len() == 5
            && all
                .iter()
                .all(|one| one["observedGeneration"] == *generation)
    });
    let says = told.iter().all(|(kind, status, reason)| {
        condition(policy, kind)
            .is_some_and(|one| one["status"] == *status && one["reason"] == *reason)
    });
    let counted = counts
        .iter()
        .all(|(count, number)| policy["status"]["pods"][*count] == *number);
    (!current || !says || !counted).then(|| format!("{space}/{name}: {}", policy["status"]))
}

fn converge(lab: &Lab) {
    let mut last = Vec::new();
    let waited = wait_until(CONVERGENCE, "what the crowd has to say", || {
        // Each look is an answer of a megabyte.
        std::thread::sleep(Duration::from_secs(1));
        last = unconverged(lab)?;
        Ok(last.is_empty().then_some(()))
    });
    let shown: Vec<&String> = last.iter().take(3).chain(last.last()).collect();
    assert!(
        waited.is_ok(),
        "{waited:?}: {} not yet, such as {shown:#?}",
        last.len()
    );
}

#[test]
fn a_crowd_with_one_unreadable_policy_converges_for_a_bounded_price_and_rests() {
    let lab = lab_with_an_exit();
    let file = lab.dir().join("crowd.yaml");
    std::fs::write(&file, crowd()).unwrap();
    let file = file.display().to_string();
    lab.reset_requests().unwrap();
    let before = work(&lab);
    let begun = Instant::now();
    with_looser_definition(&lab, || {
        std::thread::scope(|scope| {
            scope.spawn(|| create_pods(&lab));
            lab.kubectl_ok(&["apply", "--server-side", "-f", &file])
                .unwrap();
        });
    });
    converge(&lab);
    let seconds = begun.elapsed().as_secs_f64();
    // The Lease is kept all the time and not counted here.
    let requests = || ["postern-operator", "postern-agent"].map(|who| asked(&lab, who).requests);
    await_quiet(CONVERGENCE, || Ok(requests())).unwrap();
    let mut figures = price(&lab, &before);
    let written = writes(&lab);
    figures.extend(rest(&lab));
    judge(&figures, seconds, &written);
}
