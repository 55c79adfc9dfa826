//! Policies that cannot be enforced as written.

use jiff::Timestamp;
use postern_e2e::lab::PodOptions;
use postern_e2e::proof::harness::{WAIT_DEADLINE, exit, wait_until};

use crate::conditions::reading::{
    Expected, await_conditions, await_event, cluster, egp, left, own_policy, row,
};
use crate::plane::get;

/// Policies that cannot be enforced as written: name, exit, further fields, expected condition, reason of the Event.
const REFUSED: [(&str, &str, &str, Expected, &str); 3] = [
    (
        "missing",
        "nowhere",
        "",
        (
            "ResolvedRefs",
            "False",
            "RefNotFound",
            "there is no ExitNode nowhere",
        ),
        "NoExit",
    ),
    (
        "nobody",
        "ghost",
        "",
        (
            "ResolvedRefs",
            "False",
            "NoEligibleNode",
            "no node matches the gateway selector of ghost",
        ),
        "NoExit",
    ),
    (
        "newer",
        "eu",
        "schedule: night",
        (
            "Accepted",
            "False",
            "UnknownField",
            "does not know spec.schedule; upgrade the operator",
        ),
        "PolicyRefused",
    ),
];

/// A field that only a newer definition has.
const NEWER_FIELD: &str = r#"[{"op": "add", "value": {"type": "string"},
    "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/schedule"}]"#;

#[test]
fn what_cannot_be_done_says_which_condition_why_and_what_instead_and_its_pods_are_blocked() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    let mut objects = exit("ghost", "no-such-node", "");
    for (name, exit, further, ..) in REFUSED {
        objects.push_str(&own_policy(name, exit, further));
    }
    let definition = ["patch", "crd", "egresspolicies.postern.dev", "--type=json"];
    lab.kubectl_ok(&[&definition[..], &["-p", NEWER_FIELD]].concat())
        .unwrap();
    wait_until(WAIT_DEADLINE, "the newer field is let in", || {
        Ok(lab.apply_yaml(&objects).ok())
    })
    .unwrap();
    for (name, _, _, told, blocked) in REFUSED {
        await_conditions(&lab, &egp(name), &[told]);
        let (_, _, reason, _) = told;
        await_event(&lab, "EgressPolicy", name, ("Warning", reason));
        let pod = PodOptions::on("n1").label("app", name);
        let sender = lab.sender(&format!("crawlers/{name}"), pod).unwrap();
        await_conditions(
            &lab,
            &egp(name),
            &[
                told,
                ("Ready", "False", blocked, "1 pods are to be blocked"),
            ],
        );
        wait_until(WAIT_DEADLINE, "one blocked pod", || {
            let object = get(&lab, &egp(name))?;
            Ok((object["status"]["pods"]["blocked"] == 1).then_some(()))
        })
        .unwrap();
        let cells = [
            ("READY", "False"),
            ("ENFORCED", "0"),
            ("BLOCKED", "1"),
            ("REASON", blocked),
        ];
        row(&lab, &egp(name), &cells);
        assert_eq!(left(&lab, &sender, Timestamp::now()), 0, "{name}");
    }
    let nobody = [
        (
            "ResolvedRefs",
            "False",
            "NoEligibleNode",
            "No node that matches the selector",
        ),
        (
            "Ready",
            "False",
            "NoEligibleNode",
            "No node that matches the selector",
        ),
    ];
    await_conditions(&lab, &["exit", "ghost"], &nobody);
    row(
        &lab,
        &["exit", "ghost"],
        &[("READY", "False"), ("REASON", "NoEligibleNode")],
    );
    await_event(&lab, "ExitNode", "ghost", ("Warning", "NoEligibleNode"));
    // A pod that no policy selects can leave, so the policies block the others.
    let free = lab
        .sender("crawlers/free", PodOptions::on("n1").label("app", "free"))
        .unwrap();
    assert!(left(&lab, &free, Timestamp::now()) > 0);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
