//! The report's way to the API server: the status of this node's NodeReport, by server-side apply. The operator makes
//! the object; the agent writes its status and nothing else.

use std::sync::Arc;
use std::time::Duration;

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
use crate::report::{AT_LEAST_EVERY, EVERY, LatestReport};

/// Who owns the fields of the status (server-side apply).
const FIELD_MANAGER: &str = "postern-agent";
/// The agent publishes a report at least every minute, and that is sent. Only where none is published for longer the last one
/// is sent again.
const AGAIN: Duration = AT_LEAST_EVERY.saturating_add(Duration::from_secs(15));

/// Applies reports to the status of this node's NodeReport.
pub(super) struct ReportSender {
    pub(super) endpoint: Endpoint,
    pub(super) node: NodeName,
    pub(super) health: Arc<ApiHealth>,
    /// Counts how often the connection to the API server was found broken.
    pub(super) broken: watch::Sender<u64>,
}

/// What was sent last, and when.
#[derive(Default)]
struct Sent {
    report: LatestReport,
    at: Option<Instant>,
    tried: Option<Instant>,
    /// The object, once its node was seen to be that of the report.
    object: Option<ReportObject>,
}

/// A NodeReport as it was read.
#[derive(Clone)]
struct ReportObject {
    node_uid: String,
    /// Its `metadata.generation`, which the conditions are about.
    generation: i64,
}

/// Applies reports until the agent ends.
pub(super) async fn run(sender: ReportSender, mut reports: watch::Receiver<LatestReport>) {
    let mut pace = pace();
    let mut sent = Sent::default();
    loop {
        let error = match connect(&sender.endpoint, &sender.health).await {
            Ok(client) => {
                sender
                    .serve(client, &mut reports, &mut sent, &mut pace)
                    .await
            }
            Err(error) => error,
        };
        sender.health.failed(&error);
        sender.health.pause(&mut pace, ApiWait::Short).await;
    }
}

impl ReportSender {
    /// Applies reports until a new client is needed, because the token was refused.
    async fn serve(
        &self,
        client: Client,
        reports: &mut watch::Receiver<LatestReport>,
        sent: &mut Sent,
        pace: &mut Pace,
    ) -> AgentApiError {
        let kind = ApiResource::erase::<NodeReport>(&());
        let api: Api<DynamicObject> = Api::all_with(client, &kind);
        loop {
            let report = due(reports, sent).await;
            let Err(error) = self.apply(&api, report, sent).await else {
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

    async fn apply(
        &self,
        api: &Api<DynamicObject>,
        report: Arc<NodeReport>,
        sent: &mut Sent,
    ) -> Result<(), AgentApiError> {
        sent.tried = Some(Instant::now());
        let own = &report.spec.node_uid;
        let object = match sent.object.take().filter(|seen| seen.node_uid == *own) {
            Some(seen) => seen,
            None => self.own_object(api, own).await?,
        };
        let status = serde_json::to_value(&report.status).map_err(AgentApiError::Report)?;
        let status = with_generation(status, object.generation);
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
        sent.report = Some(report);
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
fn with_generation(mut status: Value, generation: i64) -> Value {
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

/// Waits until a report is due: a new one a second after the last try, the last one again after [`AGAIN`].
async fn due(reports: &mut watch::Receiver<LatestReport>, sent: &Sent) -> Arc<NodeReport> {
    loop {
        let now = Instant::now();
        let report = reports.borrow_and_update().clone();
        let is_sent = |report| {
            sent.report
                .as_ref()
                .is_some_and(|sent| Arc::ptr_eq(sent, report))
        };
        let due = match &report {
            // The agent publishes it after its first seal.
            None => now + AGAIN,
            Some(report) if !is_sent(report) => sent.tried.map_or(now, |tried| tried + EVERY),
            Some(_) => sent.at.map_or(now, |at| at + AGAIN),
        };
        if let Some(report) = report.filter(|_| due <= now) {
            return report;
        }
        tokio::select! {
            () = sleep_until(due) => {}
            Ok(()) = reports.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_crds::NodeReportSpec;
    use tokio::time::timeout;

    use super::*;

    fn report(uid: &str) -> Arc<NodeReport> {
        let node_uid = uid.to_owned();
        Arc::new(NodeReport::new("n1", NodeReportSpec { node_uid }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_sent_again_only_when_the_agents_own_rhythm_fails() {
        let (first, second) = (report("first"), report("second"));
        let (publisher, mut reports) = watch::channel(Some(Arc::clone(&first)));
        let now = Some(Instant::now());
        let sent = Sent {
            report: Some(Arc::clone(&first)),
            at: now,
            tried: now,
            object: None,
        };
        // The agent's minute ends with the run that is going on then.
        let minute = AT_LEAST_EVERY + Duration::from_secs(10);
        let early = timeout(minute, due(&mut reports, &sent)).await;
        assert!(early.is_err(), "{early:?}");
        let again = timeout(minute, due(&mut reports, &sent)).await;
        assert!(Arc::ptr_eq(&again.unwrap(), &first));

        publisher.send_replace(Some(Arc::clone(&second)));
        let next = timeout(EVERY, due(&mut reports, &sent)).await;
        assert!(Arc::ptr_eq(&next.unwrap(), &second));
    }
}
