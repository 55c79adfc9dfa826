//! What is committed is what the types say.

use std::path::Path;

use postern_crds::schema::kubernetes::NOT_LOOKED_AT;
use postern_crds::{
    ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation, NodeIntent, NodeReport,
};

use crate::render::render;

#[test]
fn committed_files_are_what_the_types_say() {
    let mut stale = Vec::new();
    for (path, text) in render().unwrap() {
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        if committed != text {
            stale.push(path.display().to_string());
        }
    }
    assert!(
        stale.is_empty(),
        "run `cargo run -p postern-crds --example write_yaml`; it would change {stale:#?}"
    );
}

#[test]
fn no_other_definition_lies_beside_the_generated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut expected: Vec<String> = postern_crds::definition::all()
        .unwrap()
        .iter()
        .map(postern_crds::definition::ResourceDefinition::file_name)
        .collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_committed_definition_reads_back_as_the_same_object() {
    for (definition, (_, text)) in postern_crds::definition::all()
        .unwrap()
        .iter()
        .zip(render().unwrap())
    {
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, definition.object, "{}", definition.kind);
    }
}

#[test]
fn every_kind_has_its_group_names_scope_and_category() {
    use kube::CustomResourceExt;
    let found: Vec<String> = [
        ExitNode::crd(),
        EgressPolicy::crd(),
        ClusterEgressPolicy::crd(),
        InterfaceIsolation::crd(),
        NodeIntent::crd(),
        NodeReport::crd(),
    ]
    .iter()
    .map(|crd| {
        let names = &crd.spec.names;
        format!(
            "{} {} {} {:?} {:?} {}",
            crd.spec.group,
            names.kind,
            names.plural,
            names.short_names.clone().unwrap_or_default(),
            names.categories.clone().unwrap_or_default(),
            crd.spec.scope
        )
    })
    .collect();
    assert_eq!(
        found,
        [
            r#"postern.dev ExitNode exitnodes ["exit"] ["postern"] Cluster"#,
            r#"postern.dev EgressPolicy egresspolicies ["egp"] ["postern"] Namespaced"#,
            r#"postern.dev ClusterEgressPolicy clusteregresspolicies ["cegp"] ["postern"] Cluster"#,
            r#"postern.dev InterfaceIsolation interfaceisolations ["iiso"] ["postern"] Cluster"#,
            r#"postern.dev NodeIntent nodeintents [] ["postern"] Cluster"#,
            r#"postern.dev NodeReport nodereports [] ["postern"] Cluster"#,
        ]
    );
}

#[test]
fn the_status_of_every_users_kind_starts_as_one_that_nobody_has_looked_at() {
    let users = [
        "ExitNode",
        "EgressPolicy",
        "ClusterEgressPolicy",
        "InterfaceIsolation",
    ];
    for definition in postern_crds::definition::all().unwrap() {
        let default = &definition.schema()["properties"]["status"]["default"];
        let expected = match users.contains(&definition.kind) {
            true => serde_json::json!({"observedGeneration": NOT_LOOKED_AT}),
            false => serde_json::Value::Null,
        };
        assert_eq!(*default, expected, "{}", definition.kind);
    }
}

#[test]
fn every_printer_column_names_a_field_of_the_schema() {
    for definition in postern_crds::definition::all().unwrap() {
        for column in definition.columns() {
            let path = column["jsonPath"].as_str().unwrap();
            if path.starts_with(".metadata.") {
                continue;
            }
            let mut schema = definition.schema();
            for step in steps(path) {
                schema = match step.as_str() {
                    "[]" => &schema["items"],
                    name => &schema["properties"][name],
                };
                assert!(schema.is_object(), "{} has no {path}", definition.kind);
            }
        }
    }
}

/// Steps of a column's path: names, and `[]` for an index or a filter.
fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            steps.push("[]".to_owned());
            rest = after.split_once(']').unwrap().1;
        } else {
            let name = rest.strip_prefix('.').unwrap();
            let end = name.find(['.', '[']).unwrap_or(name.len());
            steps.push(name[..end].to_owned());
            rest = &name[end..];
        }
    }
    steps
}
