//! The writes of the memory, before the intents that follow from it: a crash in between loses no record of what was let
//! go.

use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use postern_apiserver::{ApiError, ApiVerb, Failure, within};

use super::contents::{MemoryContents, PageName};
use super::store::{MemoryStore, PageWrites};
use crate::error::chain;
use crate::metrics::{WriteLabel, gauge};
use crate::pipeline::error::PipelineError;
use crate::pipeline::gather::config_map;
use crate::pipeline::publish::Writer;
use crate::watches::WatchedStores;

/// Whether the memory says what is to be remembered.
pub(in crate::pipeline) enum SavedMemory {
    /// Everything that the API server takes is written, or was already.
    Remembered(Box<MemoryContents>),
    /// The watch has not shown the last write yet.
    Wait,
}

/// How the pages are written.
pub(in crate::pipeline) struct MemoryWrite<'a> {
    pub(in crate::pipeline) writer: &'a Writer,
    pub(in crate::pipeline) namespace: &'a str,
    pub(in crate::pipeline) stores: &'a WatchedStores,
    pub(in crate::pipeline) epoch: u64,
}

impl MemoryWrite<'_> {
    /// Writes the pages of the memory that differ from what is there. A page of policies that the API server refuses is
    /// left unwritten: its namespaces are as after a lost memory when another leader comes, which loosens nothing, and
    /// everybody else is served.
    pub(in crate::pipeline) async fn save(
        &self,
        memory: &mut MemoryStore,
        next: MemoryContents,
    ) -> Result<SavedMemory, PipelineError> {
        let shown = |page: PageName| config_map(self.stores, self.namespace, &page.config_map());
        let now = Instant::now();
        let writes = memory
            .writes(&next, shown, self.epoch, now)
            .map_err(PipelineError::Page)?;
        let PageWrites::These(writes) = writes else {
            return Ok(SavedMemory::Wait);
        };
        let mut parts = next.split();
        for (page, map) in writes {
            if !self.writer.may_write() {
                return Err(PipelineError::NotLeading);
            }
            let part = parts.remove(&page).unwrap_or_default();
            match self.write(page, &map).await {
                Ok(written) => {
                    self.writer.metrics.wrote(WriteLabel::Memory);
                    memory.wrote(page, part, &written.metadata, self.epoch, now);
                }
                Err(error) if page != PageName::Core && error.failure() == Failure::Refused => {
                    tracing::error!(
                        error = chain(&error),
                        "the API server refuses a page of the memory"
                    );
                    memory.refused(page, part, chain(&error), now);
                }
                Err(error) => return Err(PipelineError::Memory(error)),
            }
        }
        let unwritten = memory.unwritten().len();
        self.writer.metrics.unwritten_pages.set(gauge(unwritten));
        memory.keep(next.clone(), self.epoch);
        Ok(SavedMemory::Remembered(Box::new(next)))
    }

    async fn write(&self, page: PageName, map: &ConfigMap) -> Result<ConfigMap, ApiError> {
        let api: Api<ConfigMap> = Api::namespaced(self.writer.client.clone(), self.namespace);
        let name = page.config_map();
        let (params, what) = (Writer::params(), format!("ConfigMap {name}"));
        if map.metadata.resource_version.is_some() {
            within(ApiVerb::Replace, what, api.replace(&name, &params, map)).await
        } else {
            within(ApiVerb::Create, what, api.create(&params, map)).await
        }
    }
}
