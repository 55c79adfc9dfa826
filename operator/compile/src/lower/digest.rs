//! Digests of the parts of a document that a status is about. A node repeats a digest in its report once it has read the part
//! back, so that a refresh, or a change of something else, changes no status.

use std::collections::BTreeMap;

use postern_intent::body::{
    ExitRoute, ExternalSession, Isolation, SealedCredential, ServedExit, Tunnel, TunnelRole,
};
use postern_intent::{ExitName, NodeDocument, SectionDigest};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Writes the digest of every scope, used exit and served exit.
pub(crate) fn stamp(document: &mut NodeDocument) {
    let mut used: BTreeMap<ExitName, SectionDigest> = BTreeMap::new();
    let mut served: BTreeMap<ExitName, SectionDigest> = BTreeMap::new();
    for route in &mut document.routes {
        route.digest = of_used(route, &document.tunnels);
        used.insert(route.exit.clone(), route.digest.clone());
    }
    for exit in &mut document.nat {
        let mut sessions = document.external.iter();
        let session = sessions.find(|session| session.exit == exit.exit);
        exit.digest = of_served(exit, &document.tunnels, session);
        served.insert(exit.exit.clone(), exit.digest.clone());
    }
    for scope in &mut document.firewall {
        scope.digest = none();
        let way = scope.tunnel_exit().and_then(|exit| used.get(exit));
        let way = way.or_else(|| scope.local_exit().and_then(|exit| served.get(exit)));
        scope.digest = of(&(&*scope, way));
    }
}

/// The placeholder until [`stamp`] has run.
pub(crate) fn none() -> SectionDigest {
    SectionDigest::zero()
}

fn of_used(route: &ExitRoute, tunnels: &[Tunnel]) -> SectionDigest {
    let tunnel = tunnels
        .iter()
        .find(|tunnel| tunnel.interface == route.interface);
    let route = ExitRoute {
        digest: none(),
        ..route.clone()
    };
    of(&(route, tunnel))
}

/// Without the peers: a client that is added or removed changes nothing for the others, and its own probe shows whether the
/// gateway knows it.
///
/// Another encryption of the same credential to the same key is no change.
fn of_served(
    exit: &ServedExit,
    tunnels: &[Tunnel],
    session: Option<&ExternalSession>,
) -> SectionDigest {
    let mut served = tunnels.iter().filter(|one| one.role == TunnelRole::Served);
    let tunnel = served.find(|tunnel| tunnel.exit == exit.exit);
    let tunnel = tunnel.map(|tunnel| (tunnel.listen_port, tunnel.mtu, &tunnel.addresses));
    let exit = ServedExit {
        digest: none(),
        ..exit.clone()
    };
    let Some(session) = session else {
        return of(&(exit, tunnel));
    };
    let credential = SealedCredential {
        sealed: String::new(),
        ..session.credential.clone()
    };
    let session = ExternalSession {
        credential,
        ..session.clone()
    };
    let mut external = tunnels
        .iter()
        .filter(|one| one.role == TunnelRole::External);
    let device = external.find(|one| one.exit == exit.exit);
    of(&(exit, tunnel, session, device))
}

/// The digest of the fields of an isolation, without the object that they come from.
pub(crate) fn of_isolation(isolation: &Isolation) -> SectionDigest {
    of(&Isolation {
        digest: none(),
        ..isolation.clone()
    })
}

/// Types of the intent become the same JSON wherever they are: fields in their order, maps and sets sorted.
fn of(part: &impl Serialize) -> SectionDigest {
    let json = serde_json::to_vec(part).unwrap_or_default();
    let hash: [u8; 32] = Sha256::digest(&json).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    SectionDigest::of_bytes([a, b, c, d, e, f, g, h])
}
