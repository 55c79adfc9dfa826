//! Which reports prove that their keys are the node's own. Checking one takes a private key and a multiplication on
//! the curve, so what was found is kept for as long as report and keys stay the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt as _;
use postern_crds::NodeReport;
use postern_crds::node_report::KeyProof;
use postern_intent::KeyId;
use postern_intent::possession::{Claim, KeyPurpose, is_proved};

use crate::signer::KeyRing;
use crate::watches::WatchedObject;

/// What was found about the last reports.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct ProvedKeys {
    keys: Vec<KeyId>,
    judged: BTreeMap<(String, KeyPurpose), KeyJudgement>,
}

/// One report, as far as a proof depends on it.
#[derive(Debug, PartialEq, Eq)]
struct KeyJudgement {
    uid: String,
    key: String,
    proofs: Vec<KeyProof>,
    proved: bool,
}

impl ProvedKeys {
    /// Looks at the reports, at those only that are new or changed.
    pub(super) fn look(&mut self, reports: &[Arc<WatchedObject<NodeReport>>], ring: &KeyRing) {
        let keys: Vec<KeyId> = ring.public().keys().cloned().collect();
        let mut known = std::mem::take(&mut self.judged);
        if self.keys != keys {
            known.clear();
        }
        self.keys = keys;
        for report in reports.iter().filter_map(|report| report.good()) {
            for purpose in [KeyPurpose::WireGuard, KeyPurpose::Credentials] {
                let key = (report.name_any(), purpose);
                let former = known.remove(&key);
                let found = judge(report, purpose, former, ring);
                self.judged.extend(found.map(|found| (key, found)));
            }
        }
    }

    /// What was found about this claim.
    pub(super) fn is_proved(&self, claim: &Claim<'_>, proofs: &[KeyProof]) -> bool {
        let key = (claim.node.to_string(), claim.purpose);
        self.judged.get(&key).is_some_and(|judged| {
            let same = judged.uid == claim.uid.as_str() && judged.key == claim.key.to_string();
            judged.proved && same && judged.proofs == proofs
        })
    }
}

fn judge(
    report: &NodeReport,
    purpose: KeyPurpose,
    former: Option<KeyJudgement>,
    ring: &KeyRing,
) -> Option<KeyJudgement> {
    let keys = report.status.as_ref()?.public_keys.as_ref()?;
    let (key, proofs) = match purpose {
        KeyPurpose::WireGuard => (&keys.wireguard, &keys.wireguard_proofs),
        KeyPurpose::Credentials => (&keys.credentials, &keys.credentials_proofs),
    };
    let said = KeyJudgement {
        uid: report.spec.node_uid.clone(),
        key: key.clone()?,
        proofs: proofs.clone(),
        proved: false,
    };
    if let Some(former) = former
        && (&former.uid, &former.key, &former.proofs) == (&said.uid, &said.key, &said.proofs)
    {
        return Some(former);
    }
    let claim = Claim {
        node: &report.name_any().parse().ok()?,
        uid: &said.uid.parse().ok()?,
        key: &said.key.parse().ok()?,
        purpose,
    };
    let proofs = said.proofs.iter();
    let proofs = proofs.map(|proof| (proof.key_id.as_str(), proof.mac.as_str()));
    let proved = is_proved(ring.signing(), &claim, proofs);
    Some(KeyJudgement { proved, ..said })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use postern_crds::NodeReport;
    use postern_intent::possession::{Claim, KeyPurpose, prove};
    use postern_intent::{NodeName, Uid, WgKey};
    use serde_json::{Value, json};
    use x25519_dalek::{PublicKey, StaticSecret};

    use super::ProvedKeys;
    use crate::signer::KeyRing;
    use crate::watches::WatchedObject;

    const PRIVATE: [u8; 32] = [7; 32];

    fn ring(seed: u8) -> KeyRing {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let pem = key.to_pkcs8_pem(LineEnding::LF).expect("a PEM");
        KeyRing::read([("a.pem", pem.as_bytes())]).expect("a ring")
    }

    fn key() -> WgKey {
        let public = PublicKey::from(&StaticSecret::from(PRIVATE));
        WgKey::from_bytes(public.to_bytes()).expect("a key")
    }

    /// The proofs of the node `a` in the words of a report.
    fn proofs(ring: &KeyRing) -> Value {
        let (node, uid): (NodeName, Uid) =
            ("a".parse().expect("a name"), "a1".parse().expect("a UID"));
        let claim = Claim {
            node: &node,
            uid: &uid,
            key: &key(),
            purpose: KeyPurpose::WireGuard,
        };
        let proofs = prove(&PRIVATE, ring.trust(), &claim).into_iter();
        proofs
            .map(|(id, mac)| json!({"keyId": id, "mac": mac.to_string()}))
            .collect()
    }

    fn report(node: &str, proofs: &Value) -> Arc<WatchedObject<NodeReport>> {
        let object = json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
            "metadata": {"name": node}, "spec": {"nodeUID": "a1"},
            "status": {"publicKeys": {"wireguard": key().to_string(), "wireguardProofs": proofs}},
        });
        Arc::new(serde_json::from_value(object).expect("a report"))
    }

    fn is_proved(known: &ProvedKeys, report: &WatchedObject<NodeReport>) -> bool {
        use postern_compile::intake;
        use postern_compile::snapshot::Possession;
        let good = report.good().expect("a report");
        let check = |claim: &Claim<'_>, proofs: &[_]| known.is_proved(claim, proofs);
        let read = intake::report(good, jiff::Timestamp::UNIX_EPOCH, &check).expect("a report");
        read.key.expect("a key").possession == Possession::Proved
    }

    #[test]
    fn a_proof_counts_in_its_own_report_and_in_no_copy() {
        let ring = ring(1);
        let proofs = proofs(&ring);
        let (own, copy) = (report("a", &proofs), report("b", &proofs));
        let mut known = ProvedKeys::default();
        known.look(&[Arc::clone(&own), Arc::clone(&copy)], &ring);
        assert!(is_proved(&known, &own));
        assert!(!is_proved(&known, &copy));
    }

    #[test]
    fn what_was_found_ends_with_the_report_that_it_was_found_in_and_with_the_keys() {
        let first = ring(1);
        let own = report("a", &proofs(&first));
        let mut known = ProvedKeys::default();
        known.look(&[Arc::clone(&own)], &first);
        assert!(is_proved(&known, &own));
        let without = report("a", &json!([{"keyId": "x", "mac": key().to_string()}]));
        known.look(&[Arc::clone(&without)], &first);
        assert!(!is_proved(&known, &without));
        known.look(&[Arc::clone(&own)], &ring(2));
        assert!(!is_proved(&known, &own));
        known.look(&[Arc::clone(&own)], &first);
        assert!(is_proved(&known, &own));
    }
}
