//! Looking again whenever an object changes, by watches.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, select_all, unfold};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource};
use postern_crds::{ClusterEgressPolicy, EgressPolicy, ExitNode, NodeIntent, NodeReport};
use serde::de::DeserializeOwned;

use super::ask::ask;
use super::error::ClusterError;
use super::namespace_client::NamespaceClient;
use super::request::ResourceRequest;
use super::survey::snapshot;
use crate::doctor::DoctorSnapshot;

/// Changes come in groups, as when an operator writes the statuses of one run: it is looked once for all of them.
const TOGETHER: Duration = Duration::from_millis(300);

/// How long it is waited before a watch that ended is begun again.
const AGAIN: Duration = Duration::from_secs(1);

/// Shows the cluster, and again after each change.
pub(super) async fn follow(
    seat: &NamespaceClient,
    show: &mut dyn FnMut(&DoctorSnapshot) -> ControlFlow<()>,
) -> Result<(), ClusterError> {
    let mut changes = all_changes(seat).await?;
    // The watches have begun, so nothing that comes after this reading is missed.
    let first = snapshot(seat, Timestamp::now()).await?;
    if show(&first).is_break() {
        return Ok(());
    }
    while changes.next().await.is_some() {
        tokio::time::sleep(TOGETHER).await;
        while changes.next().now_or_never().flatten().is_some() {}
        // What cannot be asked now is asked at the next change; the watches go on trying.
        if let Ok(now) = snapshot(seat, Timestamp::now()).await
            && show(&now).is_break()
        {
            break;
        }
    }
    Ok(())
}

/// The changes of every kind that a status shows.
async fn all_changes(
    seat: &NamespaceClient,
) -> Result<SelectAll<BoxStream<'static, ()>>, ClusterError> {
    let mut all = vec![
        changes::<EgressPolicy>(seat).await?,
        changes::<ExitNode>(seat).await?,
        changes::<NodeIntent>(seat).await?,
        changes::<NodeReport>(seat).await?,
    ];
    match changes::<ClusterEgressPolicy>(seat).await {
        // The definitions are older than the kind.
        Err(error) if error.code() == Some(404) => {}
        tiers => all.push(tiers?),
    }
    Ok(select_all(all))
}

/// What a watch of a kind brings. Only metadata: which object changed is not asked, and an intent is a megabyte.
type KindEvents<K> = BoxStream<'static, kube::Result<WatchEvent<PartialObjectMeta<K>>>>;

/// A watch that goes on for ever.
struct KindWatch<K> {
    api: Api<K>,
    /// None: it ended.
    events: Option<KindEvents<K>>,
}

/// The changes of a kind from now on. A watch that was begun anew counts as one: what came in between was missed.
async fn changes<K>(seat: &NamespaceClient) -> Result<BoxStream<'static, ()>, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<K> = Api::all(seat.client.clone());
    let events = Some(begin(&api).await?);
    let watch = KindWatch { api, events };
    Ok(unfold(watch, |mut watch| async move {
        loop {
            let Some(events) = &mut watch.events else {
                tokio::time::sleep(AGAIN).await;
                watch.events = begin(&watch.api).await.ok();
                if watch.events.is_some() {
                    return Some(((), watch));
                }
                continue;
            };
            match events.next().await {
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => watch.events = None,
                Some(Ok(_)) => return Some(((), watch)),
            }
        }
    })
    .boxed())
}

/// A watch of what comes after the newest version that the API server has now.
async fn begin<K>(api: &Api<K>) -> Result<KindEvents<K>, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let act = |verb| ResourceRequest {
        verb,
        resource: format!("{}.{}", K::plural(&()), K::group(&())),
        name: None,
        namespace: None,
    };
    let newest = ListParams::default().limit(1);
    let newest = ask(act("list"), api.list_metadata(&newest)).await?;
    let version = newest.metadata.resource_version.unwrap_or_default();
    let params = WatchParams::default();
    let watching = ask(act("watch"), api.watch_metadata(&params, &version)).await?;
    Ok(watching.boxed())
}
