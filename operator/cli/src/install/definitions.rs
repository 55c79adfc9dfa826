//! The namespace, and what a former installation left.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use postern_crds::names::{GROUP, VERSION};

use postern_compile::first_names;

use super::check::{CheckResult, InstallCheck};
use super::reading::InstallReading;

const ENFORCED: &str = "pod-security.kubernetes.io/enforce";

pub(super) fn checks(reading: &InstallReading) -> Vec<InstallCheck> {
    vec![
        InstallCheck::read("namespace", &reading.namespace, |namespace| {
            seat(&reading.namespace_name, namespace.as_ref())
        }),
        InstallCheck::read("definitions", &reading.definitions, |all| definitions(all)),
        InstallCheck::read("installed version", &reading.operator, |operator| {
            installed(operator.as_ref())
        }),
    ]
}

fn seat(name: &str, namespace: Option<&Namespace>) -> InstallCheck {
    const CHECK: &str = "namespace";
    let Some(namespace) = namespace else {
        return InstallCheck::passed(
            CHECK,
            format!(
                "there is no {name} yet; deploy/base makes it with Pod Security level privileged"
            ),
        );
    };
    if namespace.metadata.deletion_timestamp.is_some() {
        return InstallCheck::of(
            CHECK,
            CheckResult::Refused,
            format!("{name} is being deleted"),
            "wait until it is gone",
        );
    }
    let labels = namespace.metadata.labels.as_ref();
    let label = format!("kubectl label namespace {name} {ENFORCED}=privileged --overwrite");
    match labels
        .and_then(|labels| labels.get(ENFORCED))
        .map(String::as_str)
    {
        Some("privileged") => {
            InstallCheck::passed(CHECK, format!("{name} has Pod Security level privileged"))
        }
        Some(level) => InstallCheck::of(
            CHECK,
            CheckResult::Refused,
            format!(
                "{name} enforces Pod Security level {level}, which refuses pods on the host's network"
            ),
            label,
        ),
        None => InstallCheck::of(
            CHECK,
            CheckResult::Warning,
            format!("{name} names no Pod Security level, so the API server's default decides"),
            label,
        ),
    }
}

fn definitions(all: &[CustomResourceDefinition]) -> InstallCheck {
    const CHECK: &str = "definitions";
    let ours: Vec<&CustomResourceDefinition> =
        all.iter().filter(|one| one.spec.group == GROUP).collect();
    let name = |one: &&&CustomResourceDefinition| one.metadata.name.clone().unwrap_or_default();
    let terminating = ours
        .iter()
        .filter(|one| one.metadata.deletion_timestamp.is_some());
    let terminating: Vec<String> = terminating.map(|one| name(&one)).collect();
    if !terminating.is_empty() {
        return InstallCheck::of(
            CHECK,
            CheckResult::Refused,
            format!("being deleted: {}", first_names(terminating)),
            "wait until they are gone: objects that are made meanwhile would go with them",
        );
    }
    let foreign = ours.iter().filter(|one| {
        let served = one.spec.versions.iter().filter(|version| version.served);
        served.map(|version| version.name.as_str()).ne([VERSION])
    });
    let foreign: Vec<String> = foreign.map(|one| name(&one)).collect();
    if !foreign.is_empty() {
        return InstallCheck::of(
            CHECK,
            CheckResult::Refused,
            format!("other versions than {VERSION}: {}", first_names(foreign)),
            "this program installs v1alpha1 only; use the one that belongs to those definitions",
        );
    }
    match ours.len() {
        0 => InstallCheck::passed(CHECK, "none yet"),
        count => InstallCheck::of(
            CHECK,
            CheckResult::Warning,
            format!("{count} of {GROUP} are there already"),
            "an installation replaces them and keeps their objects; with Helm it needs --take-ownership",
        ),
    }
}

fn installed(operator: Option<&Deployment>) -> InstallCheck {
    const CHECK: &str = "installed version";
    let Some(operator) = operator else {
        return InstallCheck::passed(CHECK, "none");
    };
    let spec = operator.spec.template.spec.as_ref();
    let images = spec.map(|spec| spec.containers.iter());
    let images = images
        .into_iter()
        .flatten()
        .filter_map(|one| one.image.clone());
    let image = images.into_iter().next().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    match image.rsplit_once(':') {
        Some((_, tag)) if tag == version => InstallCheck::passed(CHECK, image),
        _ => InstallCheck::of(
            CHECK,
            CheckResult::Warning,
            format!("{image}, and this program is {version}"),
            "this is an upgrade or a downgrade: read docs/install.md, Upgrade",
        ),
    }
}
