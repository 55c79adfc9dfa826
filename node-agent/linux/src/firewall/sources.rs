//! What each source sent, by the elements that its packets made in the set of a limit.

use std::collections::BTreeMap;

use postern_host::error::{HostCause, HostError};
use postern_intent::Address;
use postern_plan::ruleset::SourceCount;
use serde_json::Value;

use super::run;
use crate::host::LinuxHost;

impl LinuxHost {
    /// The sources of a limit. A set that is not there has none.
    ///
    /// # Errors
    /// [`HostError::ReadFirewall`].
    pub async fn source_counts(
        &self,
        set: &str,
    ) -> Result<BTreeMap<Address, SourceCount>, HostError> {
        let listing = run::list_set(set).await;
        let read =
            listing.and_then(|listing| listing.map_or(Ok(BTreeMap::new()), |one| read(&one)));
        read.map_err(|source| HostError::ReadFirewall {
            table: "inet postern",
            source,
        })
    }
}

fn read(listing: &[u8]) -> Result<BTreeMap<Address, SourceCount>, HostCause> {
    let listing: Value = serde_json::from_slice(listing).map_err(|_| HostCause::Answer {
        what: "nft's listing is no JSON",
    })?;
    let objects = listing["nftables"].as_array().into_iter().flatten();
    let elements = objects.filter_map(|object| object["set"]["elem"].as_array());
    let sources = elements.flatten().filter_map(|element| {
        let element = &element["elem"];
        let number = |name: &str| element["counter"][name].as_u64();
        let count = SourceCount {
            packets: number("packets")?,
            bytes: number("bytes")?,
        };
        Some((element["val"].as_str()?.parse().ok()?, count))
    });
    Ok(sources.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_counter_is_left_out_and_the_others_have_theirs() {
        // `nft -j list set` of nft 1.0.6, with an element that an agent of before made.
        let listing = br#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, {"set": {"family":
            "inet", "name": "s", "table": "t", "type": "ipv4_addr", "handle": 1, "size": 65536, "flags": ["timeout"], "elem":
            [{"elem": {"val": "10.244.1.2", "expires": 59, "counter": {"packets": 30, "bytes": 900}}},
            {"elem": {"val": "10.244.1.3", "expires": 3}}, "10.244.1.4"]}}]}"#;
        let found = read(listing).unwrap();
        let count = SourceCount {
            packets: 30,
            bytes: 900,
        };
        assert_eq!(found, [("10.244.1.2".parse().unwrap(), count)].into());
        assert!(read(b"{}").unwrap().is_empty());
        assert!(read(b"flags").is_err());
    }
}
