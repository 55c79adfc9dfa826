//! Whether this node's intent is still the newest one: a list without a version, whose answer is never older than the question,
//! from etcd or from a cache that was brought up to it. It is asked only while an egress address depends on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};
use postern_apiserver::Endpoint;
use postern_crds::NodeIntent;
use postern_intent::{NodeName, Serial};
use tokio::sync::watch;
use tokio::time::timeout;

use super::client::{connect, in_time};
use super::error::AgentApiError;
use super::health::ApiHealth;
use crate::egress::IntentConfirmation;

/// Between two questions. Of those within the time of the fence three may fail before an address ends.
const PACE: Duration = Duration::from_secs(4);
/// Between two questions while the answers fail.
const RETRY: Duration = Duration::from_secs(1);

/// The questions of one node.
pub(super) struct IntentQuestions {
    pub(super) endpoint: Endpoint,
    pub(super) node: NodeName,
    pub(super) health: Arc<ApiHealth>,
    /// The serial that is to be confirmed; none: nothing is asked.
    pub(super) wanted: watch::Receiver<Option<Serial>>,
    pub(super) answers: watch::Sender<Option<IntentConfirmation>>,
}

/// Asks until the agent ends.
pub(super) async fn run(mut questions: IntentQuestions) {
    let mut client = None;
    loop {
        let is_wanted = questions.wanted.borrow_and_update().is_some();
        let pause = match is_wanted {
            false => None,
            true => Some(questions.ask(&mut client).await),
        };
        let changed = questions.wanted.changed();
        let changed = match pause {
            None => changed.await,
            Some(pause) => timeout(pause, changed).await.unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
    }
}

impl IntentQuestions {
    /// Asks once; how long to wait before the next question.
    async fn ask(&self, client: &mut Option<Client>) -> Duration {
        let (asked, asked_at) = (Instant::now(), Timestamp::now());
        match self.serial(client).await {
            Ok(serial) => {
                self.health.works();
                let confirmation = serial.map(|serial| IntentConfirmation {
                    serial,
                    asked,
                    asked_at,
                });
                self.answers.send_replace(confirmation);
                PACE
            }
            Err(error) => {
                self.health.failed(&error);
                *client = None;
                RETRY
            }
        }
    }

    /// The serial of the node's intent; none: there is none.
    async fn serial(&self, client: &mut Option<Client>) -> Result<Option<Serial>, AgentApiError> {
        let api: Api<NodeIntent> = match client {
            Some(client) => Api::all(client.clone()),
            None => {
                let made = connect(&self.endpoint, &self.health).await?;
                Api::all(client.insert(made).clone())
            }
        };
        let own = format!("metadata.name={}", self.node);
        let list = in_time(api.list(&ListParams::default().fields(&own))).await?;
        Ok(list.items.first().map(|intent| Serial(intent.spec.serial)))
    }
}
