//! Servers of external exits by their names, asked of the node's own resolver. A name that resolves no more keeps its last
//! address: a missing answer is no news of the server.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use postern_intent::IfName;
use postern_intent::body::ServerEndpoint;
use tokio::net::lookup_host;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::latest::send_other;

/// Time between two questions for a name that has no address yet, or whose server is silent.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the node's resolver may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The names to resolve, by the device of the session.
pub type WantedEndpoints = BTreeMap<IfName, WantedEndpoint>;

/// Addresses of servers, by the device of the session.
pub type FoundEndpoints = BTreeMap<IfName, FoundAddress>;

/// The server of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedEndpoint {
    pub endpoint: ServerEndpoint,
    pub urgency: Urgency,
}

/// When a name is resolved again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It has an address at which the server answers.
    Settled,
    /// The server is silent: its name may lead elsewhere by now.
    Silent,
}

/// The agent's end.
#[derive(Debug, Clone)]
pub struct EndpointHandle {
    wanted: watch::Sender<WantedEndpoints>,
}

impl EndpointHandle {
    /// Both ends.
    #[must_use]
    pub fn pair() -> (Self, watch::Receiver<WantedEndpoints>) {
        let (wanted, receiver) = watch::channel(WantedEndpoints::new());
        (Self { wanted }, receiver)
    }

    /// Replaces the names to resolve.
    pub fn want(&self, wanted: WantedEndpoints) {
        send_other(&self.wanted, wanted);
    }
}

/// An address with the name that it was found for: an exit that has another name since then does not use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAddress {
    pub endpoint: ServerEndpoint,
    pub address: SocketAddr,
}

/// Resolves until one of the two ends is gone.
pub async fn resolve(
    mut wanted: watch::Receiver<WantedEndpoints>,
    tell: mpsc::Sender<FoundEndpoints>,
) {
    let mut found = FoundEndpoints::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        found.retain(|device, one| now.get(device).is_some_and(|w| w.endpoint == one.endpoint));
        let mut is_new = false;
        for (device, one) in &now {
            let known = found.get(device).map(|found| found.address);
            if known.is_some() && one.urgency == Urgency::Settled {
                continue;
            }
            let Some(address) = look_up(&one.endpoint, known).await else {
                continue;
            };
            if known != Some(address) {
                tracing::info!(device = %device, server = %one.endpoint, %address, "a server has this address");
                let endpoint = one.endpoint.clone();
                found.insert(device.clone(), FoundAddress { endpoint, address });
                is_new = true;
            }
        }
        if is_new && tell.send(found.clone()).await.is_err() {
            return;
        }
        // A change of the wanted names ends the pause; without one, names that are not settled are asked again.
        if let Ok(Err(_)) = timeout(PAUSE, wanted.changed()).await {
            return;
        }
    }
}

/// The address of a server. One that is silent at one of several addresses is tried at the next one.
async fn look_up(endpoint: &ServerEndpoint, known: Option<SocketAddr>) -> Option<SocketAddr> {
    if let Ok(address) = endpoint.host.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, endpoint.port));
    }
    let asked = lookup_host((endpoint.host.as_str(), endpoint.port));
    let addresses: Vec<SocketAddr> = match timeout(ANSWER, asked).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(server = %endpoint, error, "the name of a server has no address now");
            return None;
        }
        Err(_) => {
            tracing::warn!(server = %endpoint, "the node's resolver does not answer");
            return None;
        }
    };
    next(&addresses, known)
}

/// The one behind the known one, in the order of the resolver; the first one where that is not among them.
fn next(addresses: &[SocketAddr], known: Option<SocketAddr>) -> Option<SocketAddr> {
    let place = known.and_then(|known| addresses.iter().position(|one| *one == known));
    let next = place.map_or(0, |place| place + 1);
    addresses.get(next).or_else(|| addresses.first()).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by it")]

    use super::*;

    fn socket(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 51820))
    }

    #[test]
    fn a_silent_server_is_tried_at_the_next_of_its_addresses_and_then_at_the_first_one_again() {
        let addresses = [socket(1), socket(2)];
        assert_eq!(next(&addresses, None), Some(socket(1)));
        assert_eq!(next(&addresses, Some(socket(1))), Some(socket(2)));
        assert_eq!(next(&addresses, Some(socket(2))), Some(socket(1)));
        assert_eq!(next(&addresses, Some(socket(9))), Some(socket(1)));
        assert_eq!(next(&[], Some(socket(1))), None);
    }

    #[tokio::test]
    async fn an_address_is_told_without_any_resolver() {
        let (handle, wanted) = EndpointHandle::pair();
        let (sender, mut updates) = mpsc::channel(4);
        tokio::spawn(resolve(wanted, sender));
        let endpoint = ServerEndpoint {
            host: "2001:db8::1".to_owned(),
            port: 51820,
        };
        let device: IfName = "pst-x-eu".parse().unwrap();
        let urgency = Urgency::Settled;
        handle.want([(device.clone(), WantedEndpoint { endpoint, urgency })].into());
        let found = updates.recv().await.unwrap();
        assert_eq!(
            found
                .get(&device)
                .map(|found| found.address.to_string())
                .as_deref(),
            Some("[2001:db8::1]:51820")
        );
    }
}
