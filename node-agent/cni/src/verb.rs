//! The verbs of the specification.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    Attached, CniError, Configuration, Environment, ErrorReport, SpecVersion,
    agent::ask,
    departed::DepartedFolder,
    protocol::{Add, CheckRequest, CniRefusal, CniResponse, Gc, Request},
};

/// What a call that succeeded leaves on stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerbOutput {
    Silent,
    Print(String),
}

/// Serves one call.
///
/// # Errors
/// The report that the specification asks for on stdout, with exit code 1.
pub fn run(environment: &Environment, input: &[u8]) -> Result<VerbOutput, ErrorReport> {
    let report = |error| ErrorReport::new(SpecVersion::LATEST, &error);
    let verb = environment.command().map_err(report)?;
    if verb == "VERSION" {
        return version(input).map_err(report);
    }
    let configuration = Configuration::parse(input).map_err(report)?;
    let report = |error| ErrorReport::new(configuration.version(), &error);
    dispatch(verb, environment, &configuration).map_err(report)
}

fn dispatch(
    verb: &str,
    environment: &Environment,
    configuration: &Configuration,
) -> Result<VerbOutput, CniError> {
    match verb {
        "ADD" => add(environment, configuration),
        "CHECK" => {
            exists(configuration, "CHECK", SpecVersion::V0_4_0)?;
            check(environment, configuration)
        }
        "DEL" => del(environment, configuration),
        "GC" => {
            exists(configuration, "GC", SpecVersion::V1_1_0)?;
            gc(configuration)
        }
        "STATUS" => {
            exists(configuration, "STATUS", SpecVersion::V1_1_0)?;
            status(configuration)
        }
        _ => Err(CniError::UnknownVerb {
            verb: verb.to_owned(),
        }),
    }
}

fn exists(
    configuration: &Configuration,
    verb: &'static str,
    since: SpecVersion,
) -> Result<(), CniError> {
    if configuration.version() < since {
        return Err(CniError::VerbTooNew { verb, since });
    }
    Ok(())
}

fn add(environment: &Environment, configuration: &Configuration) -> Result<VerbOutput, CniError> {
    let attachment = environment.attachment()?;
    let netns = environment.netns()?.to_owned();
    let pod = environment.pod()?;
    let previous = configuration.previous()?;
    let attached = attached(previous.get(), &attachment.ifname)?;
    let request = Request::Add(Add {
        container_id: attachment.container_id,
        ifname: attachment.ifname,
        netns,
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        addresses: attached.addresses,
        host_interface: attached.host_interface,
        mac: attached.mac,
    });
    demand(configuration, &request)?;
    Ok(VerbOutput::Print(previous.get().to_owned()))
}

fn check(environment: &Environment, configuration: &Configuration) -> Result<VerbOutput, CniError> {
    let attachment = environment.attachment()?;
    let attached = attached(configuration.previous()?.get(), &attachment.ifname)?;
    let request = Request::Check(CheckRequest {
        container_id: attachment.container_id,
        ifname: attachment.ifname,
        addresses: attached.addresses,
    });
    demand(configuration, &request)?;
    Ok(VerbOutput::Silent)
}

/// A pod must be able to go while the agent is away, and the kubelet repeats a DEL that fails
/// until it succeeds, so this one always succeeds. Nothing is lost by a marker that cannot be
/// written: ADD removes what is left of an address before it gives it to another pod.
fn del(environment: &Environment, configuration: &Configuration) -> Result<VerbOutput, CniError> {
    let attachment = environment.attachment()?;
    let request = Request::Del(attachment.clone());
    if let Err(error) = demand(configuration, &request) {
        eprintln!("postern-cni: DEL is left to the agent's next start: {error}");
        if let Err(error) = DepartedFolder::beside(configuration.socket()).leave(&attachment) {
            eprintln!("postern-cni: cannot leave a marker: {error}");
        }
    }
    Ok(VerbOutput::Silent)
}

fn gc(configuration: &Configuration) -> Result<VerbOutput, CniError> {
    let request = Request::Gc(Gc {
        valid_container_ids: configuration.valid_container_ids()?,
    });
    demand(configuration, &request)?;
    Ok(VerbOutput::Silent)
}

fn status(configuration: &Configuration) -> Result<VerbOutput, CniError> {
    match demand(configuration, &Request::Status) {
        Ok(()) => Ok(VerbOutput::Silent),
        // 50 and 51 are the codes that STATUS has for itself.
        Err(error) if matches!(error.code(), 50 | 51) => Err(error),
        Err(error) => Err(CniError::Unavailable {
            source: Box::new(error),
        }),
    }
}

/// Asks, and takes a refusal for an error.
fn demand(configuration: &Configuration, request: &Request) -> Result<(), CniError> {
    match ask(configuration.socket(), request)? {
        CniResponse::Done => Ok(()),
        CniResponse::Refused(refusal) => Err(CniError::Refused {
            refusal: with_error_code(refusal),
        }),
    }
}

/// Code 0 would read as a success; 11 makes the runtime try again.
fn with_error_code(refusal: CniRefusal) -> CniRefusal {
    match refusal.code {
        0 => CniRefusal {
            code: 11,
            ..refusal
        },
        _ => refusal,
    }
}

fn attached(result: &str, ifname: &str) -> Result<Attached, CniError> {
    // The kernel gives every bridge this folder (net/bridge/br_sysfs_br.c).
    let is_bridge = |name: &str| {
        Path::new("/sys/class/net")
            .join(name)
            .join("bridge")
            .exists()
    };
    let known_bridge = |name: &str| matches!(name, "cni0" | "cbr0") || is_bridge(name);
    Attached::read(result, ifname, known_bridge).map_err(|source| CniError::Previous { source })
}

/// The runtime's question may name a version that is not supported: then the answer tells.
#[derive(Deserialize)]
struct VersionQuestion {
    #[serde(rename = "cniVersion")]
    cni_version: Option<String>,
}

#[derive(Serialize)]
struct VersionAnswer {
    #[serde(rename = "cniVersion")]
    cni_version: String,
    #[serde(rename = "supportedVersions")]
    supported_versions: Vec<&'static str>,
}

fn version(input: &[u8]) -> Result<VerbOutput, CniError> {
    let decode = |source| CniError::Decode { source };
    let asked = if input.trim_ascii().is_empty() {
        None
    } else {
        serde_json::from_slice::<VersionQuestion>(input)
            .map_err(decode)?
            .cni_version
    };
    let answer = VersionAnswer {
        cni_version: asked.unwrap_or_else(|| SpecVersion::LATEST.to_string()),
        supported_versions: SpecVersion::ALL.map(SpecVersion::as_str).to_vec(),
    };
    let text = serde_json::to_string(&answer).map_err(decode)?;
    Ok(VerbOutput::Print(text))
}
