//! The pods and services of the demo.

use std::net::{IpAddr, SocketAddr};

use crate::lab::LabError;
use crate::lab::{Binaries, Exec, Lab, PodOptions, PodRecord, TrafficPolicy};
use crate::proof::harness::Sender;

/// The service in front of the pod on the other node.
pub(crate) const SERVICE: &str = "10.96.0.10:80";

/// The node port in front of the selected pod that serves.
pub(crate) const NODE_PORT: u16 = 30080;

#[derive(Debug)]
pub(crate) struct DemoPods {
    /// Selected, on a client node.
    pub(crate) crawler: Sender,
    /// Selected, on the exit's own gateway.
    pub(crate) local: Sender,
    /// In the same namespace and on the same node, not selected.
    pub(crate) plain: Sender,
    /// In a namespace without a way out.
    pub(crate) locked: Sender,
    /// Selected, and serves.
    pub(crate) server: PodRecord,
    /// On another node.
    pub(crate) far: PodRecord,
}

impl DemoPods {
    /// Starts the pods and their services. The samples must be in force.
    pub(crate) fn start(lab: &Lab) -> Result<Self, LabError> {
        let crawler = |node: &str| PodOptions::on(node).label("app", "crawler");
        let serving = |options: PodOptions| Ok::<_, LabError>(options.command(serve(lab)?));
        let pods = Self {
            server: lab.pod_on("crawlers/server", &serving(crawler("n1"))?)?,
            far: lab.pod_on("default/far", &serving(PodOptions::on("n2"))?)?,
            crawler: lab.sender("crawlers/crawler", crawler("n1"))?,
            local: lab.sender("crawlers/local", crawler("gw-1"))?,
            plain: lab.sender("crawlers/plain", PodOptions::on("n1"))?,
            locked: lab.sender("vault/locked", PodOptions::on("n1"))?,
        };
        let service: SocketAddr =
            SERVICE
                .parse()
                .map_err(|why: std::net::AddrParseError| LabError::Invalid {
                    what: "service",
                    value: SERVICE.to_owned(),
                    why: why.to_string(),
                })?;
        let policy = TrafficPolicy::Cluster;
        let (far, server) = (pods.far.addresses[0], pods.server.addresses[0]);
        lab.create_service("far", Some(service.ip()), service.port(), (far, 7), policy)?;
        lab.create_service("server", None, NODE_PORT, (server, 7), TrafficPolicy::Local)?;
        Ok(pods)
    }
}

fn serve(lab: &Lab) -> Result<Vec<std::ffi::OsString>, LabError> {
    let program = Binaries::locate()?.lab().into_os_string();
    let dir = lab.dir().as_os_str().to_owned();
    Ok(vec![
        program,
        "--dir".into(),
        dir,
        "run".into(),
        "world".into(),
    ])
}

/// One question to an echo server from a namespace: the source that the server saw, or the error.
pub(crate) fn probe(lab: &Lab, from: Exec<'_>, to: (IpAddr, u16)) -> Result<String, LabError> {
    ask(lab, from, &["probe", &SocketAddr::from(to).to_string()])
}

/// One question from a pod to a name server.
pub(crate) fn resolve(
    lab: &Lab,
    from: &str,
    server: IpAddr,
    name: &str,
) -> Result<String, LabError> {
    ask(
        lab,
        Exec::Pod(from),
        &["resolve", name, "--server", &server.to_string()],
    )
}

fn ask(lab: &Lab, from: Exec<'_>, words: &[&str]) -> Result<String, LabError> {
    let program = Binaries::locate()?.lab().display().to_string();
    let command: Vec<&str> = std::iter::once(program.as_str())
        .chain(words.iter().copied())
        .collect();
    let output = lab.exec(from, &command)?;
    let said = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}
