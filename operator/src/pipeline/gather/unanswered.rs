//! Writes of intents whose answers do not say whether they were carried out.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{Api, Client};
use postern_apiserver::{ApiVerb, within};
use postern_crds::NodeIntent;

use crate::pipeline::error::PipelineError;
use crate::pipeline::intents::Intents;
use crate::pipeline::object_key::ObjectKey;
use crate::pipeline::publish::AT_ONCE;
use crate::pipeline::signed::SignedDocument;

/// Reads the object of every unanswered write: an agent may have taken the document and reported it before the watch
/// shows it here.
///
/// # Errors
/// [`PipelineError::Api`]: the API server does not answer. Nothing is decided then; the intents ask for half a minute.
pub(super) async fn settle_unanswered<D: SignedDocument>(
    client: &Client,
    intents: &mut Intents<D>,
    now: Instant,
) -> Result<(), PipelineError> {
    let api: Api<NodeIntent> = Api::all(client.clone());
    let api = &api;
    let asked = intents.unanswered(now).into_iter().map(|name| async move {
        let key = ObjectKey::cluster("NodeIntent", name.as_str());
        let found = within(ApiVerb::Get, key.to_string(), api.get_opt(name.as_str())).await;
        found.map(|found| (name, found))
    });
    let found: Vec<_> = futures::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .map_err(PipelineError::Api)?;
    for (name, object) in found {
        intents.answered(&name, object, now);
    }
    Ok(())
}
