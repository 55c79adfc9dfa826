//! The channels of the loop: documents from the API server, with a copy in a folder, or from a folder alone; reports to a file
//! and to the API server.

use std::time::Duration;

use postern_agent::agent::NodeUpdate;
use postern_agent::agent::state::{StartDamage, note_damage};
use postern_agent::apiserver::documents::DocumentSender;
use postern_agent::apiserver::metrics::ApiMetrics;
use postern_agent::apiserver::{self, ApiServerOptions};
use postern_agent::document_folder::DocumentFolder;
use postern_agent::egress::Confirmations;
use postern_agent::files;
use postern_agent::inbox::SourceDocuments;
use postern_agent::options::RunArgs;
use postern_agent::report::{LatestReport, write_reports};
use postern_crds::conditions::{ConditionType, Reason};
use postern_intent::{TrustedKeys, Uid};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// What the channels are made from besides the command line.
pub(super) struct ChannelInputs<'a> {
    pub(super) uid: &'a Uid,
    pub(super) installed: &'a TrustedKeys,
    pub(super) metrics: ApiMetrics,
    pub(super) updates: mpsc::Sender<NodeUpdate>,
}

/// The loop's ends of the channels.
pub(super) struct LoopChannels {
    pub(super) documents: watch::Receiver<SourceDocuments>,
    pub(super) reports: watch::Sender<LatestReport>,
    /// From where the task of egress addresses knows whether the intent is the newest one.
    pub(super) confirmations: Confirmations,
    /// Ends when the last report is in its file.
    pub(super) report_file: JoinHandle<()>,
}

impl LoopChannels {
    /// Starts the source of documents and the sinks of reports. The first documents are those in the folder, and nothing waits
    /// for the API server.
    pub(super) fn start(
        args: &RunArgs,
        inputs: ChannelInputs<'_>,
        damages: &mut Vec<StartDamage>,
    ) -> Self {
        let (reports, latest) = watch::channel(None);
        let report_file = tokio::spawn(write_reports(args.report(), latest.clone()));
        let (documents, confirmations) = start_source(args, inputs, latest, damages);
        Self {
            documents,
            reports,
            confirmations,
            report_file,
        }
    }
}

fn start_source(
    args: &RunArgs,
    inputs: ChannelInputs<'_>,
    reports: watch::Receiver<LatestReport>,
    damages: &mut Vec<StartDamage>,
) -> (watch::Receiver<SourceDocuments>, Confirmations) {
    let mut damage = |reason, error: &(dyn std::error::Error + 'static)| {
        damages.push(note_damage(ConditionType::Accepted, reason, error));
    };
    let endpoint = args.endpoint();
    if endpoint.is_some()
        && let Err(error) = files::private_folder(&args.inbox())
    {
        damage(Reason::NotDurable, &error);
    }
    let folder = DocumentFolder::new(args.inbox());
    let (documents, received) = watch::channel(first_documents(&folder));
    let confirmations = match endpoint {
        Some(endpoint) => {
            let (wanted, asked) = watch::channel(None);
            let (confirmed, answers) = watch::channel(None);
            let options = ApiServerOptions {
                endpoint,
                node: args.node_name.clone(),
                documents: DocumentSender::new(documents, folder),
                reports,
                state_dir: args.state_dir.clone(),
                uid: args.node_uid.is_none().then(|| inputs.uid.clone()),
                trust_dir: args.trust.folder.clone(),
                installed: inputs.installed.clone(),
                metrics: inputs.metrics,
                wanted: asked,
                answers: confirmed,
            };
            apiserver::start(options, inputs.updates);
            Confirmations::ApiServer { wanted, answers }
        }
        None => {
            let check = Duration::from_secs(args.check_seconds);
            if let Err(error) = folder.follow(documents, check) {
                damage(Reason::ApplyFailed, &error);
            }
            Confirmations::Folder
        }
    };
    (received, confirmations)
}

fn first_documents(folder: &DocumentFolder) -> SourceDocuments {
    folder.read().unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the intent folder cannot be read"
        );
        SourceDocuments::new()
    })
}
