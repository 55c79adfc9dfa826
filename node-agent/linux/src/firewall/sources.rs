//! What each source sent, by the elements that its packets made in the set of a limit.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;
use postern_host::error::{HostCause, HostError, errno};
use postern_intent::Address;
use postern_plan::ruleset::SourceCount;

use super::granted::{GET_ELEMENTS, attribute, set_of_ours};
use crate::host::LinuxHost;
use crate::netlink;

/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

impl LinuxHost {
    /// The sources of a limit. A set that is not there has none.
    ///
    /// # Errors
    /// [`HostError::ReadFirewall`].
    pub async fn source_counts(
        &self,
        set: &str,
    ) -> Result<BTreeMap<Address, SourceCount>, HostError> {
        let listed = netlink::dump(NETLINK_NETFILTER, GET_ELEMENTS, &set_of_ours(set)).await;
        match listed {
            Ok(messages) => {
                let bodies = messages.iter().filter_map(|one| one.body.get(NFGENMSG..));
                Ok(bodies.flat_map(sources).collect())
            }
            Err(HostCause::Errno {
                errno: errno::ENOENT,
            }) => Ok(BTreeMap::new()),
            Err(source) => Err(HostError::ReadFirewall {
                table: "inet postern",
                source,
            }),
        }
    }
}

/// The sources in one message of the list. An element without a counter, which an agent of before made, is left out.
fn sources(message: &[u8]) -> Vec<(Address, SourceCount)> {
    let elements = netlink::attribute(message, attribute::ELEMENTS).unwrap_or_default();
    let elements = netlink::attributes(elements).into_iter();
    elements
        .filter_map(|(_, element)| Some((address(element)?, counter(element)?)))
        .collect()
}

fn address(element: &[u8]) -> Option<Address> {
    let key = netlink::attribute(element, attribute::KEY)?;
    let octets = netlink::attribute(key, attribute::VALUE)?;
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let six = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| six()).ok()
}

fn counter(element: &[u8]) -> Option<SourceCount> {
    let of_list = netlink::attribute(element, attribute::EXPRESSIONS);
    let of_list = of_list.map(netlink::attributes).unwrap_or_default();
    let of_list = of_list.into_iter().map(|(_, expression)| expression);
    let mut expressions = of_list.chain(netlink::attribute(element, attribute::EXPRESSION));
    let counter = expressions.find(|expression| {
        netlink::attribute(expression, attribute::NAME) == Some(b"counter\0".as_slice())
    })?;
    let data = netlink::attribute(counter, attribute::DATA)?;
    let number = |kind| {
        let bytes = netlink::attribute(data, kind)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    };
    Some(SourceCount {
        packets: number(attribute::COUNTED_PACKETS)?,
        bytes: number(attribute::COUNTED_BYTES)?,
    })
}
