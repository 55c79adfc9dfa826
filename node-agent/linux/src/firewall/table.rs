//! The port: batches in, listings out.

use std::collections::{BTreeMap, BTreeSet};

use netlink_sys::protocols::NETLINK_NETFILTER;
use postern_host::error::{HostCause, HostError};
use postern_host::ports::{Firewall, HostResult};
use postern_intent::Address;
use postern_plan::observed::{ObservedFirewall, ObservedTable};
use postern_plan::ruleset::Transaction;

use super::last_listing::LastListing;
use super::{decode, granted, run};
use crate::host::LinuxHost;
use crate::netlink::{self, attribute};

impl Firewall for LinuxHost {
    async fn change_firewall(&self, transaction: &Transaction) -> HostResult<()> {
        let changed = match granted::messages(transaction) {
            Some(messages) => self.grants().batch(messages).await,
            None => run::change(&transaction.to_string()).await,
        };
        changed.map_err(|source| HostError::ChangeFirewall {
            summary: transaction.summary().to_owned(),
            source,
        })
    }

    async fn has_addresses(&self, sets: &BTreeMap<String, BTreeSet<Address>>) -> HostResult<bool> {
        for (set, addresses) in sets {
            let addresses: Vec<Address> = addresses.iter().copied().collect();
            for some in addresses.chunks(ADDRESSES_OF_A_REQUEST) {
                let there = granted::holds(self.grants(), set, some).await;
                let there = there.map_err(|source| HostError::ReadFirewall {
                    table: "inet postern",
                    source,
                })?;
                if !there {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn read_firewall(&self) -> HostResult<ObservedFirewall> {
        // Before the listing: what changes meanwhile has another generation.
        let generation = generation().await;
        if let Some(listing) = self.last_listing().current(generation) {
            return Ok(listing);
        }
        let (inet, bridge, arp) = tokio::join!(table("inet"), table("bridge"), table("arp"));
        // The guard does not need the ARP table: where that one cannot be listed it counts as missing and is written anew, and
        // the two that can be listed are not called unreadable for it.
        let arp = arp.map_err(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ARP table cannot be listed"
            );
        });
        let is_whole = arp.is_ok();
        let listing = ObservedFirewall {
            inet: inet.map_err(|source| HostError::ReadFirewall {
                table: "inet postern",
                source,
            })?,
            bridge: bridge.map_err(|source| HostError::ReadFirewall {
                table: "bridge postern",
                source,
            })?,
            arp: arp.unwrap_or_default(),
        };
        if is_whole {
            *self.last_listing() = LastListing::of(generation, listing.clone());
        }
        Ok(listing)
    }
}

/// Addresses that are asked for at a time: the kernel answers with a message for each.
const ADDRESSES_OF_A_REQUEST: usize = 64;

/// `NFT_MSG_GETGEN` of `NFNL_SUBSYS_NFTABLES`.
const GET_GENERATION: u16 = (10 << 8) | 16;
/// `NFTA_GEN_ID`, in network byte order.
const GENERATION_ID: u16 = 1;

/// The number of the kernel's current ruleset; none where it does not say, and then everything is listed.
async fn generation() -> Option<u32> {
    let answer = netlink::get(NETLINK_NETFILTER, GET_GENERATION, &[0; 4]).await;
    let answer = answer.ok()?;
    let id = attribute(answer.first()?.body.get(4..)?, GENERATION_ID)?;
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

async fn table(family: &str) -> Result<Option<ObservedTable>, HostCause> {
    match run::list(family).await? {
        Some(listing) => decode::table(&listing),
        None => Ok(None),
    }
}
