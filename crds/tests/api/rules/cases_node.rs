//! Wrong updates of the objects that programs write.

use serde_json::{Value, json};

use super::Case;
use crate::samples::Edit;

fn intent(says: &'static str, edits: Vec<Edit>) -> Case {
    Case {
        kind: "NodeIntent",
        at: "spec",
        says,
        edits,
        before: Some(vec![]),
    }
}

pub(super) fn cases() -> Vec<Case> {
    let same_serial = "change together with a higher serial only";
    vec![
        intent("serial must not fall", vec![("/spec/serial", json!(9))]),
        intent(
            "keySet.version must not fall",
            vec![("/spec/keySet/version", json!(2))],
        ),
        intent(
            "keySet.version must not fall",
            vec![("/spec/keySet", Value::Null)],
        ),
        intent(
            "keySet.version must not fall",
            vec![("/spec/serial", json!(11)), ("/spec/keySet", Value::Null)],
        ),
        intent(
            same_serial,
            vec![("/spec/envelope/payload", json!("b3RoZXI="))],
        ),
        intent(
            same_serial,
            vec![("/spec/envelope/signatures/0/sig", json!("b3RoZXI="))],
        ),
        intent(same_serial, vec![("/spec/envelope", Value::Null)]),
        intent(
            same_serial,
            vec![("/spec/notAfter", json!("2028-01-01T00:00:00Z"))],
        ),
        intent(same_serial, vec![("/spec/notAfter", Value::Null)]),
        intent(same_serial, vec![("/spec/nodeUID", json!("other"))]),
        intent(
            same_serial,
            vec![
                ("/spec/keySet/version", json!(4)),
                ("/spec/envelope/payload", json!("b3RoZXI=")),
            ],
        ),
        intent(
            "higher keySet.version only",
            vec![("/spec/keySet/envelope/payload", json!("b3RoZXI="))],
        ),
        intent(
            "higher keySet.version only",
            vec![
                ("/spec/serial", json!(11)),
                ("/spec/keySet/envelope/payload", json!("b3RoZXI=")),
            ],
        ),
        Case {
            kind: "NodeReport",
            at: "spec.nodeUID",
            says: "set once",
            edits: vec![("/spec/nodeUID", json!("other"))],
            before: Some(vec![]),
        },
    ]
}

/// Updates of the smallest intent that the rules must let through.
pub(super) fn growing_intents() -> Vec<Vec<Edit>> {
    vec![
        vec![
            ("/spec/serial", json!(11)),
            ("/spec/notAfter", json!("2028-01-01T00:00:00Z")),
            ("/spec/envelope/payload", json!("b3RoZXI=")),
        ],
        vec![
            ("/spec/keySet/version", json!(4)),
            ("/spec/keySet/envelope/payload", json!("b3RoZXI=")),
        ],
        vec![
            ("/spec/serial", json!(11)),
            ("/spec/nodeUID", json!("other")),
        ],
    ]
}
