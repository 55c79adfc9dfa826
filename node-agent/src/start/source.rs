//! The source of documents: the API server with a copy in a folder, or a folder alone.

use std::time::Duration;

use postern_agent::agent::NodeUpdate;
use postern_agent::agent::state::{StartDamage, note_damage};
use postern_agent::apiserver::documents::DocumentSender;
use postern_agent::apiserver::metrics::ApiMetrics;
use postern_agent::apiserver::{self, ApiServerOptions};
use postern_agent::document_folder::DocumentFolder;
use postern_agent::files;
use postern_agent::inbox::SourceDocuments;
use postern_agent::options::RunArgs;
use postern_agent::report::LatestReport;
use postern_crds::conditions::{ConditionType, Reason};
use postern_intent::{TrustedKeys, Uid};
use tokio::sync::{mpsc, watch};

/// What a source needs besides the command line.
pub(super) struct SourceOptions<'a> {
    pub(super) uid: &'a Uid,
    pub(super) installed: &'a TrustedKeys,
    pub(super) metrics: ApiMetrics,
    pub(super) reports: watch::Receiver<LatestReport>,
    pub(super) updates: mpsc::Sender<NodeUpdate>,
}

/// Starts the source and returns what it sends; the first documents are those in the folder. Nothing waits for the API server.
pub(super) fn start_source(
    args: &RunArgs,
    options: SourceOptions<'_>,
    damages: &mut Vec<StartDamage>,
) -> watch::Receiver<SourceDocuments> {
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
    match endpoint {
        Some(endpoint) => apiserver::start(
            ApiServerOptions {
                endpoint,
                node: args.node_name.clone(),
                documents: DocumentSender {
                    documents,
                    copy: folder,
                },
                reports: options.reports,
                state_dir: args.state_dir.clone(),
                uid: args.node_uid.is_none().then(|| options.uid.clone()),
                trust_dir: args.trust.folder.clone(),
                installed: options.installed.clone(),
                metrics: options.metrics,
            },
            options.updates,
        ),
        None => {
            let check = Duration::from_secs(args.check_seconds);
            if let Err(error) = folder.follow(documents, check) {
                damage(Reason::ApplyFailed, &error);
            }
        }
    }
    received
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
