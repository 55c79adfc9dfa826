//! Writes of intents whose answers do not say whether they were carried out.

use std::time::Instant;

use futures::StreamExt as _;
use kube::{Api, Client};
use postern_apiserver::{ApiError, ApiVerb, within};
use postern_compile::publish::SignedDocument;
use postern_crds::NodeIntent;

use crate::pipeline::intents::KnownIntents;
use crate::pipeline::object_key::ObjectKey;
use crate::pipeline::publish::AT_ONCE;

/// Reads the object of every unanswered write: an agent may have taken the document and reported it before the watch
/// shows it here. An object that cannot be read keeps no other one from being settled.
///
/// # Errors
/// The first [`ApiError`]. That write stays unanswered, and its object is read again for half a minute.
pub(super) async fn settle_unanswered<D: SignedDocument>(
    client: &Client,
    intents: &mut KnownIntents<D>,
    now: Instant,
) -> Result<(), ApiError> {
    let api: Api<NodeIntent> = Api::all(client.clone());
    let api = &api;
    let asked = intents.unanswered(now).into_iter().map(|name| async move {
        let key = ObjectKey::cluster("NodeIntent", name.as_str());
        let found = within(ApiVerb::Get, key.to_string(), api.get_opt(name.as_str())).await;
        (name, found)
    });
    let answers: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut settled = Ok(());
    for (name, found) in answers {
        match found {
            Ok(object) => intents.answered(&name, object, now),
            Err(error) => settled = settled.and(Err(error)),
        }
    }
    settled
}
