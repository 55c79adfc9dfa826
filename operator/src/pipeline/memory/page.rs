//! One ConfigMap of the memory. Pure.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_compile::snapshot::CompilerMemory;
use postern_crds::names::HELD_ENTRY;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::contents::{MemoryContents, PageName};
use crate::lease::EPOCH_ANNOTATION;

const ENTRY: &str = "memory.json.gz";
const DEFINITION_ANNOTATION: &str = "postern.dev/definition-uid";

/// The format of the pages. It grows when an older operator would misread a page; a field that an older operator may
/// ignore does not change it.
const FORMAT: u32 = 1;

/// The largest page, in bytes of JSON: a gzip of the API server's 1 MiB may not unpack to more.
const UNPACKED_LIMIT: u64 = 64 * 1024 * 1024;

/// How many items that wait are listed for people. Each takes up to 600 bytes, and a ConfigMap takes 1 MiB; the others are
/// listed as these are approved.
const HELD_LISTED: usize = 1000;

/// Why a page cannot be used.
#[derive(Debug, Error)]
pub enum PageError {
    /// It is not what this program writes.
    #[error("ConfigMap {name} cannot be read")]
    Damaged {
        name: String,
        /// Why; none: an entry is missing.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// A newer operator wrote it.
    #[error(
        "ConfigMap {name} has format {format} and this operator reads up to {FORMAT}: install the newer operator again"
    )]
    Newer { name: String, format: u32 },
    /// It cannot be written as JSON.
    #[error("ConfigMap {name} cannot be serialized")]
    Serialize {
        name: String,
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be packed.
    #[error("ConfigMap {name} cannot be packed")]
    Pack {
        name: String,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct MemoryPage {
    format: u32,
    memory: CompilerMemory,
}

/// What a page says.
pub(super) fn unpack(page: PageName, map: &ConfigMap) -> Result<MemoryContents, PageError> {
    let damaged = |source| PageError::Damaged {
        name: page.config_map(),
        source,
    };
    let packed = map.binary_data.as_ref().and_then(|data| data.get(ENTRY));
    let packed = packed.ok_or_else(|| damaged(None))?;
    let mut json = Vec::new();
    GzDecoder::new(packed.0.as_slice())
        .take(UNPACKED_LIMIT)
        .read_to_end(&mut json)
        .map_err(|_| damaged(None))?;
    // The format first: what a newer operator wrote need not parse.
    let header: Header = serde_json::from_slice(&json).map_err(|source| damaged(Some(source)))?;
    if header.format > FORMAT {
        return Err(PageError::Newer {
            name: page.config_map(),
            format: header.format,
        });
    }
    let read: MemoryPage = serde_json::from_slice(&json).map_err(|source| damaged(Some(source)))?;
    let annotations = map.metadata.annotations.as_ref();
    Ok(MemoryContents {
        memory: read.memory,
        // It is shown and never read back: every compile finds it again.
        held: Vec::new(),
        definition: annotations.and_then(|all| all.get(DEFINITION_ANNOTATION).cloned()),
    })
}

/// The ConfigMap of a page, to be put in the place of the one that is shown.
pub(super) fn pack(
    page: PageName,
    part: &MemoryContents,
    shown: Option<&ConfigMap>,
    epoch: u64,
) -> Result<ConfigMap, PageError> {
    let name = page.config_map();
    let serialize = |source| PageError::Serialize {
        name: page.config_map(),
        source,
    };
    let written = MemoryPage {
        format: FORMAT,
        memory: part.memory.clone(),
    };
    let json = serde_json::to_vec(&written).map_err(serialize)?;
    let packed = gzip(&json).map_err(|source| PageError::Pack {
        name: page.config_map(),
        source,
    })?;
    let mut annotations: BTreeMap<String, String> =
        [(EPOCH_ANNOTATION.to_owned(), epoch.to_string())].into();
    if let Some(uid) = &part.definition {
        annotations.insert(DEFINITION_ANNOTATION.to_owned(), uid.clone());
    }
    let mut data = BTreeMap::new();
    if page == PageName::Core {
        let listed = &part.held[..part.held.len().min(HELD_LISTED)];
        let text = serde_json::to_string_pretty(listed).map_err(serialize)?;
        data.insert(HELD_ENTRY.to_owned(), text);
    }
    Ok(ConfigMap {
        metadata: ObjectMeta {
            name: Some(name),
            resource_version: shown.and_then(|map| map.metadata.resource_version.clone()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        data: Some(data),
        binary_data: Some([(ENTRY.to_owned(), ByteString(packed))].into()),
        ..ConfigMap::default()
    })
}

fn gzip(json: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    encoder.write_all(json)?;
    encoder.finish()
}
