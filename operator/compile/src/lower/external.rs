//! Sessions with servers outside of the cluster.

use postern_intent::body::{ExternalSession, SealedCredential};
use postern_intent::{ExitName, NodeDocument};

use super::{LoweringContext, NodePlan};
use crate::allocate::table;
use crate::resolve::SessionOffer;

/// The sessions of a node, by exit. A credential that is encrypted already stays as it is, so that nothing is issued anew for
/// it; another one is left open until the document is signed.
pub(crate) fn lower(context: &LoweringContext<'_>, plan: &NodePlan<'_>) -> Vec<ExternalSession> {
    let published = plan.published(context.index);
    let sessions = plan.held_exits(context).into_iter();
    sessions
        .filter_map(|(exit, offer)| {
            let mark = plan.marks.get(exit)?;
            Some(ExternalSession {
                exit: exit.clone(),
                mark,
                table: table(mark)?,
                interface: context.numbers.get(exit)?.external.clone(),
                endpoint: offer.endpoint.clone(),
                public_key: offer.public_key,
                credential: SealedCredential {
                    recipient: offer.recipient,
                    fingerprint: offer.fingerprint.to_owned(),
                    sealed: sealed(published, exit, offer).unwrap_or_default(),
                },
            })
        })
        .collect()
}

/// The same credential for the same key, as the published document has it.
fn sealed(
    published: Option<&NodeDocument>,
    exit: &ExitName,
    offer: &SessionOffer<'_>,
) -> Option<String> {
    let mut sessions = published?.external.iter();
    let session = sessions.find(|session| &session.exit == exit)?;
    let there = &session.credential;
    let is_same = there.recipient == offer.recipient && there.fingerprint == offer.fingerprint;
    is_same.then(|| there.sealed.clone())
}
