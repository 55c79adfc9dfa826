//! The report's way to the API server: the status of this node's NodeReport, by server-side apply. The operator makes
//! the object; the agent writes its status and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use inotify::{Inotify, WatchMask};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use postern_apiserver::{Endpoint, Pace};
use postern_crds::NodeReport;
use postern_intent::NodeName;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::client::{connect, in_time};
use super::error::AgentApiError;
use super::health::{ApiHealth, ApiWait, pace};
use crate::files::{self, FileError};
use crate::report::{AT_LEAST_EVERY, EVERY};

/// Who owns the fields of the status (server-side apply).
const FIELD_MANAGER: &str = "postern-agent";
/// The agent writes its report at least every minute, and that is sent. Only what stays away for longer is made up for by
/// the last report once more.
const AGAIN: Duration = AT_LEAST_EVERY.saturating_add(Duration::from_secs(15));

/// The report and its line.
pub(super) struct ReportSender {
    pub(super) endpoint: Endpoint,
    pub(super) node: NodeName,
    pub(super) file: PathBuf,
    pub(super) health: Arc<ApiHealth>,
    /// Told when the way to the API server is found broken.
    pub(super) broken: watch::Sender<u64>,
}

/// What was sent last, and when.
#[derive(Default)]
struct Sent {
    bytes: Vec<u8>,
    at: Option<Instant>,
    tried: Option<Instant>,
    /// The object, once its node was seen to be that of the file.
    object: Option<ReportObject>,
}

/// A NodeReport as it was read.
#[derive(Clone)]
struct ReportObject {
    node_uid: String,
    /// Its `metadata.generation`, which the conditions are about.
    generation: i64,
}

/// Takes reports away until the agent ends.
pub(super) async fn run(reports: ReportSender) {
    let mut pace = pace();
    let mut sent = Sent::default();
    let mut changes = changes(&reports.file);
    loop {
        let error = match connect(&reports.endpoint, &reports.health).await {
            Ok(client) => {
                reports
                    .serve(client, &mut changes, &mut sent, &mut pace)
                    .await
            }
            Err(error) => error,
        };
        reports.health.failed(&error);
        reports.health.pause(&mut pace, ApiWait::Short).await;
    }
}

impl ReportSender {
    /// Applies reports until a new client is needed, because the token was refused.
    async fn serve(
        &self,
        client: Client,
        changes: &mut BoxStream<'static, ()>,
        sent: &mut Sent,
        pace: &mut Pace,
    ) -> AgentApiError {
        let kind = ApiResource::erase::<NodeReport>(&());
        let api: Api<DynamicObject> = Api::all_with(client, &kind);
        loop {
            let outcome = match self.due(changes, sent).await {
                Ok(bytes) => self.apply(&api, bytes, sent).await,
                Err(error) => Err(AgentApiError::Report(error)),
            };
            let Err(error) = outcome else {
                pace.succeeded();
                self.health.works();
                self.health.metrics().applied();
                continue;
            };
            if error.code() == Some(401) {
                return error;
            }
            self.health.failed(&error);
            if error.is_broken() {
                self.broken.send_modify(|times| *times += 1);
            }
            self.health.pause(pace, wait_after(&error)).await;
        }
    }

    /// Waits until the file has something to say that is due.
    async fn due(
        &self,
        changes: &mut BoxStream<'static, ()>,
        sent: &Sent,
    ) -> Result<Vec<u8>, FileError> {
        loop {
            // What changed while nobody waited is in the file anyway.
            while changes.next().now_or_never().flatten().is_some() {}
            let now = Instant::now();
            let bytes = files::read(&self.file)?;
            let due = match &bytes {
                // The agent writes it after its first seal.
                None => now + AGAIN,
                Some(bytes) if *bytes != sent.bytes => {
                    sent.tried.map_or(now, |tried| tried + EVERY)
                }
                Some(_) => sent.at.map_or(now, |at| at + AGAIN),
            };
            if let Some(bytes) = bytes.filter(|_| due <= now) {
                return Ok(bytes);
            }
            tokio::select! {
                () = sleep_until(due) => {}
                Some(()) = changes.next() => {}
            }
        }
    }

    async fn apply(
        &self,
        api: &Api<DynamicObject>,
        bytes: Vec<u8>,
        sent: &mut Sent,
    ) -> Result<(), AgentApiError> {
        sent.tried = Some(Instant::now());
        let report: Value = serde_json::from_slice(&bytes).map_err(|source| {
            let path = self.file.clone();
            AgentApiError::Report(FileError::Content { path, source })
        })?;
        let own = report["spec"]["nodeUID"].as_str().unwrap_or_default();
        let object = match sent.object.take().filter(|seen| seen.node_uid == own) {
            Some(seen) => seen,
            None => self.own_object(api, own).await?,
        };
        let status = with_generation(&report["status"], object.generation);
        sent.object = Some(object);
        let applied = self.patch(api, &status).await;
        if let Err(AgentApiError::Refused { code, .. }) = &applied
            && *code != 429
            && *code < 500
        {
            // Perhaps it is another object by now.
            sent.object = None;
        }
        applied?;
        sent.bytes = bytes;
        sent.at = sent.tried;
        Ok(())
    }

    /// A NodeReport of an older node of this name is not ours to write, whether or not anything refuses that.
    async fn own_object(
        &self,
        api: &Api<DynamicObject>,
        own: &str,
    ) -> Result<ReportObject, AgentApiError> {
        let object = in_time(api.get(self.node.as_str())).await?;
        let found = object.data["spec"]["nodeUID"].as_str().unwrap_or_default();
        if found == own {
            return Ok(ReportObject {
                node_uid: own.to_owned(),
                generation: object.metadata.generation.unwrap_or_default(),
            });
        }
        Err(AgentApiError::OtherNode {
            found: found.to_owned(),
            own: own.to_owned(),
        })
    }

    async fn patch(&self, api: &Api<DynamicObject>, status: &Value) -> Result<(), AgentApiError> {
        let kind = ApiResource::erase::<NodeReport>(&());
        let body = json!({
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": self.node},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        in_time(api.patch_status(self.node.as_str(), &params, &patch)).await?;
        Ok(())
    }
}

/// The status with the generation in each condition: the agent composes it without the object.
fn with_generation(status: &Value, generation: i64) -> Value {
    let mut status = status.clone();
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition["observedGeneration"] = generation.into();
    }
    status
}

/// What was refused will be refused again until somebody changes a right, a rule or the object.
fn wait_after(error: &AgentApiError) -> ApiWait {
    match error.code() {
        Some(400 | 403 | 405 | 415 | 422) => ApiWait::Long,
        _ => ApiWait::Short,
    }
}

/// Wakes when a file beside the report is replaced. Without it the report is looked at every second.
fn changes(file: &Path) -> BoxStream<'static, ()> {
    match watch_folder(file.parent().unwrap_or(Path::new("."))) {
        Ok(stream) => stream.map(|_| ()).boxed(),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the report's folder cannot be watched"
            );
            stream::unfold((), |()| tokio::time::sleep(EVERY).map(|()| Some(((), ())))).boxed()
        }
    }
}

fn watch_folder(folder: &Path) -> std::io::Result<inotify::EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    inotify.watches().add(folder, WatchMask::MOVED_TO)?;
    inotify.into_event_stream(vec![0; 4096])
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::apiserver::metrics::ApiMetrics;

    #[tokio::test(start_paused = true)]
    async fn a_report_is_sent_again_only_when_the_agents_own_rhythm_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.json");
        std::fs::write(&file, "first").unwrap();
        let reports = ReportSender {
            endpoint: Endpoint::of_node(None),
            node: "n1".parse().unwrap(),
            file: file.clone(),
            health: Arc::new(ApiHealth::new("reports", ApiMetrics::default())),
            broken: watch::channel(0).0,
        };
        let now = Some(Instant::now());
        let sent = Sent {
            bytes: b"first".to_vec(),
            at: now,
            tried: now,
            object: None,
        };
        let mut quiet = stream::pending().boxed();
        // The agent's minute ends with the run that is going on then.
        let minute = AT_LEAST_EVERY + Duration::from_secs(10);
        let early = timeout(minute, reports.due(&mut quiet, &sent)).await;
        assert!(early.is_err(), "{early:?}");
        let net = timeout(minute, reports.due(&mut quiet, &sent)).await;
        assert_eq!(net.unwrap().unwrap(), b"first");

        std::fs::write(&file, "second").unwrap();
        let next = timeout(EVERY, reports.due(&mut quiet, &sent)).await;
        assert_eq!(next.unwrap().unwrap(), b"second");
    }
}
