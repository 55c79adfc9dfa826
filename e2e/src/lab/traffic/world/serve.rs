//! The processes `lab run world` and `lab run resolver`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;

use crate::lab::LabError;
use crate::lab::traffic::world::dns::{self, Zone};
use crate::lab::traffic::world::{echo, http};
use crate::lab::{Lab, service_names};

/// Serves the world until it is killed: echo on 7, a stream on 19, DNS on 53, HTTP on 80.
///
/// # Errors
/// When a port cannot be opened.
pub fn world() -> Result<(), LabError> {
    let mut threads = Vec::new();
    for address in [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        threads.push(echo::serve_udp(SocketAddr::new(address, 7))?);
        threads.push(echo::serve_tcp(SocketAddr::new(address, 7))?);
        threads.push(echo::serve_stream(SocketAddr::new(address, 19))?);
        threads.push(http::serve(SocketAddr::new(address, 80))?);
        threads.push(dns::serve_udp(
            SocketAddr::new(address, 53),
            Box::new(|| Zone::World),
        )?);
        threads.push(dns::serve_tcp(
            SocketAddr::new(address, 53),
            Box::new(|| Zone::World),
        )?);
    }
    wait(threads)
}

/// Serves the cluster's names until it is killed; asks the lab's state at each query, and forwards nothing.
///
/// # Errors
/// When a port cannot be opened.
pub fn resolver(lab: &Lab) -> Result<(), LabError> {
    let mut threads = Vec::new();
    for address in [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        for serve in [dns::serve_udp, dns::serve_tcp] {
            let lab = lab.clone();
            let names = move || {
                Zone::Cluster(
                    lab.state()
                        .map(|state| service_names(&state))
                        .unwrap_or_default(),
                )
            };
            threads.push(serve(SocketAddr::new(address, 53), Box::new(names))?);
        }
    }
    wait(threads)
}

fn wait(threads: Vec<JoinHandle<()>>) -> Result<(), LabError> {
    for thread in threads {
        thread.join().map_err(|_| LabError::ThreadLost {
            act: "serve the world",
        })?;
    }
    Ok(())
}
