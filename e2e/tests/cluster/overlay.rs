//! The example of an overlay.

use std::path::{Path, PathBuf};

use postern_e2e::cluster::prepare;
use postern_e2e::lab::sandbox::command;
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

#[test]
fn the_example_builds_with_its_images_and_ranges_and_is_the_one_in_the_document() {
    let example = text("deploy/overlays/example/kustomization.yaml");
    assert!(text("docs/install.md").contains(&format!("```yaml\n{example}```\n")));

    let program = prepare(&mut |_| {}).unwrap().program("kubectl").unwrap();
    let mut kubectl = std::process::Command::new(program);
    kubectl
        .arg("kustomize")
        .arg(repository("deploy/overlays/example"));
    let built: Vec<Value> =
        serde_saphyr::from_multiple(&command::run(&mut kubectl).unwrap()).unwrap();
    let pods = built
        .iter()
        .map(|object| &object["spec"]["template"]["spec"]);
    let containers: Vec<&Value> = pods
        .filter_map(|pod| pod["containers"].as_array())
        .flatten()
        .collect();
    assert_eq!(containers.len(), 4);
    for container in &containers {
        let image = container["image"].as_str().unwrap();
        assert!(image.starts_with("registry.example.com/"), "{image}");
    }
    let agent = containers
        .iter()
        .find(|one| one["name"] == "agent")
        .unwrap();
    let arguments = agent["args"].to_string();
    for argument in ["--pod-cidrs=10.244.0.0/16", "--service-cidrs=10.96.0.0/12"] {
        assert!(arguments.contains(argument), "{arguments}");
    }
}
