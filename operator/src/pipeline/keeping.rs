//! The memory, written before the intents that follow from it: a crash in between loses no record of what was let go.

use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use postern_compile::Compilation;
use postern_compile::snapshot::{Labels, Lifecycle, Namespace};

use super::MEMORY;
use super::error::PipelineError;
use super::gather::config_map;
use super::memory::{Keeping, Remembered};
use super::publish::Writer;
use super::run::{Pipeline, Round};
use crate::api::{Act, within};
use crate::metrics::Written;

/// What came of it.
pub(super) enum Kept {
    /// It is written, or was already.
    Remembered(Remembered),
    /// The watch has not shown the last write yet.
    Wait,
}

/// Writes the memory of a compilation, if it differs from what is there.
pub(super) async fn remember(
    pipeline: &mut Pipeline,
    round: &Round,
    compilation: &Compilation,
) -> Result<Kept, PipelineError> {
    let next = Remembered {
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
    let shown = config_map(&pipeline.parts.stores, &namespace, MEMORY);
    let now = Instant::now();
    let keeping = pipeline
        .mind
        .keeping(&next, shown.as_ref(), round.epoch, now)?;
    let map = match keeping {
        Keeping::Nothing => return Ok(Kept::Remembered(next)),
        Keeping::Wait => return Ok(Kept::Wait),
        Keeping::Write(map) => *map,
    };
    if !pipeline.writer.may_write() {
        return Err(PipelineError::NotLeading);
    }
    let written = write(pipeline, &namespace, &map).await?;
    pipeline.parts.metrics.wrote(Written::Memory);
    pipeline
        .mind
        .wrote(next.clone(), &written.metadata, round.epoch, now);
    Ok(Kept::Remembered(next))
}

async fn write(
    pipeline: &Pipeline,
    namespace: &str,
    map: &ConfigMap,
) -> Result<ConfigMap, PipelineError> {
    let api: Api<ConfigMap> = Api::namespaced(pipeline.parts.client.clone(), namespace);
    let (params, what) = (Writer::params(), format!("ConfigMap {MEMORY}"));
    let answer = if map.metadata.resource_version.is_some() {
        within(Act::Replace, what, api.replace(MEMORY, &params, map)).await
    } else {
        within(Act::Create, what, api.create(&params, map)).await
    };
    answer.map_err(PipelineError::Api)
}

/// What of namespaces can loosen something.
pub(super) fn labels(
    namespaces: &[Namespace],
) -> Vec<(&postern_intent::Namespace, &Labels, Lifecycle)> {
    namespaces
        .iter()
        .map(|found| (&found.name, &found.labels, found.lifecycle))
        .collect()
}
