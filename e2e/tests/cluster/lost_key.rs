//! The signing key is lost and nobody has a backup: no program makes another one, and root leads the nodes to a new one.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::cluster::OPERATORS;
use postern_e2e::lab::{Binaries, Exec, Lab};
use postern_e2e::proof::harness::{Sender, WAIT_DEADLINE, wait_until};
use postern_intent::KeyId;
use serde_json::json;

use crate::plane::{LONG, NODES, SYSTEM, ask, await_held, cluster, events, gauge};
use crate::restored::{approve_nodes, nodes, of, trusted};

#[test]
fn an_operator_without_its_key_makes_none_and_root_puts_a_new_one_in_force() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    wait_until(WAIT_DEADLINE, "packets by the exit", || {
        Ok((lab.pod_since(&sender, Timestamp::MIN)?.exited > 0).then_some(()))
    })
    .unwrap();
    recovered_by_root(&lab, &sender).unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

/// The runbook "A lost signing key" of docs/operator.md, step by step.
fn recovered_by_root(lab: &Lab, sender: &Sender) -> Result<(), LabError> {
    lab.kill_publishers()?;
    lab.kubectl_ok(&of(&["delete", "secret", "postern-signing-key"]))?;
    lab.kubectl_ok(&["delete", "nodeintents", "--all"])?;
    lab.start_publishers()?;
    wait_until(LONG, "an operator that makes no key by itself", || {
        let says = |number| {
            let ready = ask(lab, number, "/readyz").unwrap_or_default();
            ready.contains("is gone while nodes trust its key")
                && ready.contains("A lost signing key")
        };
        Ok((1..=OPERATORS).any(says).then_some(()))
    })?;
    let key = SigningKey::from_bytes(&[8; 32]);
    let id = KeyId::of(&key.verifying_key()).to_string();
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"key.pem": pem.as_str()},
        "metadata": {"name": "postern-signing-key", "namespace": SYSTEM},
    });
    lab.apply_yaml(&secret.to_string())?;
    wait_until(LONG, "the word that nodes trust other keys", || {
        let counted = gauge(lab, "nodes_with_other_keys") == Some(2);
        Ok((counted && !events(lab, "UnknownKey")?.is_empty()).then_some(()))
    })?;
    for node in NODES {
        let run_dir = lab.run_dir(node).display().to_string();
        let trust = [
            "trust-keys",
            "--reason",
            "the key is lost",
            "--run-dir",
            &run_dir,
        ];
        let program = Binaries::locate()?.path("postern-agent");
        let program = program.display().to_string();
        wait_until(LONG, "an agent that sees the new key", || {
            lab.mount_trust()?;
            let differ = lab.agent_metric(node, "postern_agent_installed_keys_differ")?;
            Ok((differ > 0).then_some(()))
        })?;
        lab.record_trusted_by_root()?;
        lab.exec_ok(Exec::Node(node), &[&[&*program], &trust[..]].concat())?;
        wait_until(LONG, "a node that trusts the new key", || {
            Ok((trusted(lab, node) == [id.clone()]).then_some(()))
        })?;
    }
    approve_nodes(lab, &await_held(lab, "Restored", &nodes())?)?;
    let since = Timestamp::now();
    wait_until(LONG, "packets by the exit again", || {
        Ok((lab.pod_since(sender, since)?.exited > 0).then_some(()))
    })
}
