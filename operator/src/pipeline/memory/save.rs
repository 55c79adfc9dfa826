//! The writes of the memory, before the intents that follow from it: a crash in between loses no record of what was let
//! go.

use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use postern_compile::Compilation;

use super::contents::{MemoryContents, PageName};
use super::store::PageWrites;
use crate::api::{Act, ApiError, Failure, within};
use crate::error::chain;
use crate::metrics::{Written, gauge};
use crate::pipeline::error::PipelineError;
use crate::pipeline::gather::config_map;
use crate::pipeline::publish::Writer;
use crate::pipeline::run::{Pipeline, Round};

/// What came of it.
pub(in crate::pipeline) enum Saved {
    /// Everything that the API server takes is written, or was already.
    Remembered(MemoryContents),
    /// The watch has not shown the last write yet.
    Wait,
}

/// Writes the pages of the memory that differ from what is there. A page of policies that the API server refuses is left
/// unwritten: its namespaces are as after a lost memory when another leader comes, which loosens nothing, and everybody
/// else is served.
pub(in crate::pipeline) async fn save(
    pipeline: &mut Pipeline,
    round: &Round,
    compilation: &Compilation,
) -> Result<Saved, PipelineError> {
    let next = MemoryContents {
        memory: compilation.memory.clone(),
        held: compilation.held.clone(),
        // While there is none, the one that went is remembered: the next one is another one.
        definition: round
            .world
            .inputs
            .definition
            .uid
            .clone()
            .or_else(|| round.world.remembered.definition.clone()),
    };
    let namespace = pipeline.parts.namespace.clone();
    let stores = pipeline.parts.stores.clone();
    let shown = |page: PageName| config_map(&stores, &namespace, &page.config_map());
    let now = Instant::now();
    let writes = pipeline
        .memory
        .writes(&next, shown, round.epoch, now)
        .map_err(PipelineError::Page)?;
    let PageWrites::These(writes) = writes else {
        return Ok(Saved::Wait);
    };
    let mut parts = next.split();
    for (page, map) in writes {
        if !pipeline.writer.may_write() {
            return Err(PipelineError::NotLeading);
        }
        let part = parts.remove(&page).unwrap_or_default();
        match write(pipeline, &namespace, page, &map).await {
            Ok(written) => {
                pipeline.parts.metrics.wrote(Written::Memory);
                let metadata = &written.metadata;
                pipeline
                    .memory
                    .wrote(page, part, metadata, round.epoch, now);
            }
            Err(error) if page != PageName::Core && error.failure() == Failure::Refused => {
                tracing::error!(
                    error = chain(&error),
                    "the API server refuses a page of the memory"
                );
                pipeline.memory.refused(page, part, chain(&error), now);
            }
            Err(error) => return Err(PipelineError::Memory(error)),
        }
    }
    let unwritten = pipeline.memory.unwritten().len();
    pipeline.parts.metrics.unwritten_pages.set(gauge(unwritten));
    pipeline.memory.keep(next.clone(), round.epoch);
    Ok(Saved::Remembered(next))
}

async fn write(
    pipeline: &Pipeline,
    namespace: &str,
    page: PageName,
    map: &ConfigMap,
) -> Result<ConfigMap, ApiError> {
    let api: Api<ConfigMap> = Api::namespaced(pipeline.parts.client.clone(), namespace);
    let name = page.config_map();
    let (params, what) = (Writer::params(), format!("ConfigMap {name}"));
    if map.metadata.resource_version.is_some() {
        within(Act::Replace, what, api.replace(&name, &params, map)).await
    } else {
        within(Act::Create, what, api.create(&params, map)).await
    }
}
