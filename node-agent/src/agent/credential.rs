//! Sessions with servers outside of the cluster: their credentials are decrypted here and given to the host, and to nothing
//! else.

use std::collections::BTreeMap;

use postern_agent_core::session_health::ServerAnswer;
use postern_host::Host;
use postern_intent::IfName;
use postern_intent::body::ExternalSession;
use postern_intent::credential::{ExitCredential, SecretBytes};
use postern_plan::Observed;
use postern_telemetry::chain;

use super::sessions::KnownSession;
use super::state::Agent;
use crate::endpoints::{Urgency, WantedEndpoint, WantedEndpoints};

impl<H: Host> Agent<H> {
    /// Before the facts of a run: reads the credentials of the body in force, and where its servers are.
    pub(super) async fn follow_sessions(&mut self, observed: &mut Observed) {
        let sessions = match self.body() {
            Some(body) => body.external.clone(),
            None => Vec::new(),
        };
        let is_there = |device: &IfName| sessions.iter().any(|one| one.interface == *device);
        let known = std::mem::take(&mut self.sessions.known);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.into_iter().partition(|(device, _)| is_there(device));
        self.sessions.known = kept;
        for device in gone.into_keys() {
            self.host.use_credential(&device, None);
        }
        for session in &sessions {
            self.read_credential(session, observed).await;
            self.follow_endpoint(session, observed);
        }
        self.want_endpoints(&sessions);
        let known = self.sessions.known.iter();
        let usable = known.filter(|(_, one)| one.fault.is_none());
        self.kernel.facts.sessions = usable
            .map(|(device, one)| (device.clone(), one.in_use))
            .collect();
    }

    async fn read_credential(&mut self, session: &ExternalSession, observed: &mut Observed) {
        let device = &session.interface;
        let former = self.sessions.known.get(device);
        let is_same = |former: &KnownSession| {
            former.credential == session.credential && former.endpoint == session.endpoint
        };
        if former.is_some_and(is_same) {
            return;
        }
        let private = SecretBytes::new(self.memory.credentials_key.private);
        let node = &self.options.node;
        let opened = ExitCredential::open(&session.credential, &private, node, &session.exit);
        let fault = opened.as_ref().err().map(|error| chain(error));
        if let Some(fault) = &fault {
            tracing::error!(exit = %session.exit, fault, "the credential of an external exit cannot be read");
        }
        self.host.use_credential(device, opened.as_ref().ok());
        // A preshared key is not read back, and an address is of one endpoint only: a peer that is set anew has the new ones. The
        // reading loses what is removed, so that the plan of this run sets it.
        if let (Some(_), Some(tunnel)) = (former, observed.tunnels.get_mut(device)) {
            for seen in std::mem::take(&mut tunnel.peers) {
                let removed = self.host.remove_peer(device, &seen.peer.public_key).await;
                if let Err(error) = removed {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(device = %device, error, "the former peer cannot be removed; the next run tries again");
                    return;
                }
            }
        }
        let of_endpoint = former.filter(|former| former.endpoint == session.endpoint);
        let (resolved, in_use) = of_endpoint.map_or((None, None), |one| (one.resolved, one.in_use));
        let known = KnownSession {
            credential: session.credential.clone(),
            endpoint: session.endpoint.clone(),
            fault,
            resolved,
            in_use,
        };
        self.sessions.known.insert(device.clone(), known);
    }

    /// A new address of the name counts from now on. Otherwise the server may have moved by itself: WireGuard follows it, and
    /// so does what is wanted.
    fn follow_endpoint(&mut self, session: &ExternalSession, observed: &Observed) {
        let device = &session.interface;
        let found = self.sessions.resolved.get(device);
        let found = found.filter(|found| found.endpoint == session.endpoint);
        let resolved = found.map(|found| found.address);
        let desired = self.kernel.desired.tunnels.get(device);
        let configured = desired.and_then(|config| config.peers.first()?.endpoint);
        let tunnel = observed.tunnels.get(device);
        let seen = tunnel.and_then(|tunnel| tunnel.peers.first()?.peer.endpoint);
        let answers = self.kernel.last.sessions.answer(device) == ServerAnswer::Answers;
        let Some(known) = self.sessions.known.get_mut(device) else {
            return;
        };
        if resolved.is_some() && resolved != known.resolved {
            known.resolved = resolved;
            known.in_use = resolved;
        } else if answers && seen.is_some() && configured == known.in_use {
            known.in_use = seen;
        }
    }

    fn want_endpoints(&self, sessions: &[ExternalSession]) {
        let wanted: WantedEndpoints = sessions
            .iter()
            .map(|session| {
                let urgency = match self.kernel.last.sessions.answer(&session.interface) {
                    ServerAnswer::Silent => Urgency::Silent,
                    ServerAnswer::Answers | ServerAnswer::Untested => Urgency::Settled,
                };
                let endpoint = session.endpoint.clone();
                (
                    session.interface.clone(),
                    WantedEndpoint { endpoint, urgency },
                )
            })
            .collect();
        self.sessions.endpoints.want(wanted);
    }
}
