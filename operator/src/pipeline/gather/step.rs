//! The step that reads: the stores, what is published, the memory. It writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt as _};
use postern_apiserver::NewestRevision;
use postern_compile::publish::cluster_intent;
use postern_compile::snapshot::CompilerSettings;
use postern_intent::{NodeName, TrustedKeys};
use tracing::warn;

use super::awaited::{ReportsSeen, awaited};
use super::confirm::{
    KnownRevisions, confirm, confirm_administrators, is_doubtful, is_new_doubt,
    lacks_administrators,
};
use super::credentials::KnownCredentials;
use super::inputs::{ClusterInputs, config_map, gather, sizes};
use super::possession::ProvedKeys;
use super::unanswered::settle_unanswered;
use crate::error::chain;
use crate::metrics::OperatorMetrics;
use crate::pipeline::error::PipelineError;
use crate::pipeline::gathered::{GatheredRun, GatheredState, marks};
use crate::pipeline::intents::{IntentState, IntentStates, KnownIntents, PublishedIntents};
use crate::pipeline::memory::{MemoryContents, MemoryStore, PageName};
use crate::pipeline::outcome::IdleReason;
use crate::signer::SigningKeys;
use crate::watches::{WatchSignals, WatchedKind, WatchedStores};

pub(in crate::pipeline) struct GatherStep<'a> {
    /// Asked only to be sure that what is gone is gone, and whether an unanswered write was carried out.
    pub(in crate::pipeline) client: &'a Client,
    pub(in crate::pipeline) namespace: &'a str,
    pub(in crate::pipeline) stores: &'a WatchedStores,
    pub(in crate::pipeline) signals: &'a WatchSignals,
    pub(in crate::pipeline) lease_revision: &'a NewestRevision,
    pub(in crate::pipeline) settings: &'a CompilerSettings,
    pub(in crate::pipeline) metrics: &'a OperatorMetrics,
    /// What the last compile read: a doubt that it settled is not asked about again.
    pub(in crate::pipeline) last: Option<&'a GatheredState>,
}

impl GatherStep<'_> {
    /// Reads. What is passed by reference remembers what it found, so that nothing is verified or unpacked twice.
    pub(in crate::pipeline) async fn run(
        &self,
        epoch: u64,
        signing: SigningKeys,
        (intents, memory): (&mut PublishedIntents, &mut MemoryStore),
        (proved, credentials): (&mut ProvedKeys, &mut KnownCredentials),
    ) -> Result<Result<GatheredRun, IdleReason>, PipelineError> {
        let now = Instant::now();
        // One node's object that cannot be read is that node's alone; the cluster document is everybody's.
        if let Err(error) = settle_unanswered(self.client, &mut intents.nodes, now).await {
            warn!(
                error = chain(&error),
                "an unanswered write of an intent cannot be settled"
            );
        }
        let settled = settle_unanswered(self.client, &mut intents.cluster, now).await;
        settled.map_err(PipelineError::Api)?;
        let mut inputs = gather(
            self.stores,
            self.settings,
            self.namespace,
            (proved, &signing.ring),
        );
        inputs.credentials = credentials
            .read(self.client, self.namespace, &inputs.exits, now)
            .await;
        for (kind, objects, poison) in sizes(self.stores) {
            self.metrics.counted(kind, objects, poison);
        }
        let nodes = self.intent_states(&mut intents.nodes, &inputs, signing.ring.trust(), now);
        let name = cluster_intent();
        let shown = self.stores.intents.get(&ObjectRef::new(name.as_str()));
        let cluster = intents
            .cluster
            .state(&name, shown.as_deref(), signing.ring.trust(), now);
        let (Some(nodes), Some(cluster)) = (nodes, cluster) else {
            return Ok(Err(IdleReason::Lagging));
        };
        let published = IntentStates { nodes, cluster };
        let shown = |page: PageName| config_map(self.stores, self.namespace, &page.config_map());
        let (remembered, loaded) = memory
            .load(shown, epoch, now)
            .map_err(PipelineError::Page)?;
        self.settle_doubts(&mut inputs, &remembered, epoch).await?;
        let documents = published.nodes.values().filter_map(IntentState::published);
        if lacks_administrators(documents.map(|one| &*one.document), &inputs) {
            inputs.admin_definition = confirm_administrators(self.client).await?;
        }
        let awaited = self.awaited(&inputs, &published.nodes, &remembered, &intents.nodes, now);
        let keys = signing.ring.public().keys().chain(&signing.retiring);
        let gathered = GatheredState {
            published: marks(&published),
            keys: keys.map(ToString::to_string).collect(),
            inputs,
            awaited,
            cluster_is_own: intents.cluster.is_ours(&name),
            remembered,
            epoch,
        };
        Ok(Ok(GatheredRun {
            epoch,
            signing,
            gathered,
            published,
            loaded,
        }))
    }

    /// The state of the intent of every node that there is, that has an intent, or for which this process published one; none:
    /// the watch has not shown yet what this process wrote.
    fn intent_states(
        &self,
        intents: &mut KnownIntents,
        inputs: &ClusterInputs,
        trust: &TrustedKeys,
        now: Instant,
    ) -> Option<BTreeMap<NodeName, IntentState>> {
        let store = &self.stores.intents;
        let shown = store.state();
        let shown = shown
            .iter()
            .filter_map(|object| object.name_any().parse::<NodeName>().ok());
        let nodes = inputs.nodes.iter().map(|node| node.name.clone());
        let mut names: BTreeSet<NodeName> =
            shown.chain(nodes).chain(intents.nodes().cloned()).collect();
        names.remove(&cluster_intent());
        let states = names.into_iter().map(|node| {
            let object = store.get(&ObjectRef::new(node.as_str()));
            let state = intents.state(&node, object.as_deref(), trust, now);
            Some((node, state?))
        });
        // All are looked at, even where one lags: a look remembers what the watch has shown.
        let states: Vec<Option<_>> = states.collect();
        states.into_iter().collect()
    }

    /// Where an object is gone, it is read once from the API server; the answer is valid until something changes.
    async fn settle_doubts(
        &self,
        inputs: &mut ClusterInputs,
        remembered: &MemoryContents,
        epoch: u64,
    ) -> Result<(), PipelineError> {
        if !is_doubtful(inputs, &remembered.memory) {
            return Ok(());
        }
        match self.last {
            Some(last) if !is_new_doubt(last, inputs, remembered, epoch) => {
                inputs.definition = last.inputs.definition.clone();
                inputs.namespaces = last.inputs.namespaces.clone();
            }
            _ => {
                // Before the request: a lease that is renewed meanwhile makes no answer old.
                let known = KnownRevisions {
                    lease: self.lease_revision.get(),
                    namespaces: self.signals.newest(WatchedKind::Namespace),
                };
                let live = confirm(self.client, self.namespace, known).await?;
                self.signals
                    .saw(WatchedKind::Namespace, live.revision.as_deref());
                inputs.definition = live.definition;
                inputs.namespaces = live.namespaces;
            }
        }
        Ok(())
    }

    fn awaited(
        &self,
        inputs: &ClusterInputs,
        intent_states: &BTreeMap<NodeName, IntentState>,
        remembered: &MemoryContents,
        intents: &KnownIntents,
        now: Instant,
    ) -> BTreeSet<NodeName> {
        let reported = self.signals.reported_nodes();
        let reports_seen = ReportsSeen {
            reported: &reported,
            watching: self.signals.watching(WatchedKind::NodeReport, now),
            ours: &|node| intents.is_ours(node),
        };
        awaited(inputs, intent_states, remembered, &reports_seen)
    }
}
