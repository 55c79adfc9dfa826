//! The samples are what an API server would take.

use std::fs;
use std::path::Path;

use kube::core::cel::Validator;
use serde_json::Value;

#[test]
fn the_samples_are_valid_by_their_definitions() {
    let definitions = postern_crds::definition::all().expect("definitions");
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/samples");
    let mut judged = 0;
    for sample in fs::read_dir(samples).expect("the samples") {
        let text = fs::read_to_string(sample.expect("a sample").path()).expect("a sample");
        for object in serde_saphyr::from_multiple::<Value>(&text).expect("YAML") {
            let Some(definition) = definitions.iter().find(|one| object["kind"] == one.kind) else {
                continue;
            };
            let found = Validator::new().validate_with_defaults(definition.schema(), &object, None);
            assert!(found.is_ok(), "{object}: {found:?}");
            let unknown: Vec<String> = unknown_fields(
                &definition.schema()["properties"]["spec"],
                &object["spec"],
                "spec",
            );
            assert!(unknown.is_empty(), "the API server would drop {unknown:?}");
            judged += 1;
        }
    }
    assert_eq!(judged, 2, "an exit and a policy");
}

/// Fields that the schema does not have.
fn unknown_fields(schema: &Value, object: &Value, at: &str) -> Vec<String> {
    let (Some(fields), Some(known)) = (object.as_object(), schema["properties"].as_object()) else {
        let items = object.as_array().into_iter().flatten();
        return items
            .flat_map(|item| unknown_fields(&schema["items"], item, at))
            .collect();
    };
    let inner = fields.iter().map(|(name, value)| match known.get(name) {
        Some(schema) => unknown_fields(schema, value, &format!("{at}.{name}")),
        None => vec![format!("{at}.{name}")],
    });
    inner.flatten().collect()
}
