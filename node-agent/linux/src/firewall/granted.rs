//! Addresses in sets of ours, told and asked of the kernel itself: a process of nft takes longer than everything else about an
//! answer.

use std::num::NonZeroU64;

use postern_host::error::{HostCause, errno};
use postern_intent::Address;
use postern_plan::desired::names::GRANTED;
use postern_plan::ruleset::{Atom, Edit, NftCommand, TABLE, TableFamily, Transaction};

use crate::netlink::{BatchMessage, KeptSocket, nest, put};

/// `NFT_MSG_GETSETELEM` of `NFNL_SUBSYS_NFTABLES`.
pub(super) const GET_ELEMENTS: u16 = (10 << 8) | 13;
/// `NFT_MSG_NEWSETELEM`.
const NEW_ELEMENTS: u16 = (10 << 8) | 12;
/// `NFT_MSG_DELSETELEM`.
const DELETE_ELEMENTS: u16 = (10 << 8) | 14;
/// `NLM_F_CREATE`.
const CREATE: u16 = 0x400;
/// `NFPROTO_INET`.
const INET: u8 = 1;

/// Attributes of `linux/netfilter/nf_tables.h`.
pub(super) mod attribute {
    /// `NFTA_SET_ELEM_LIST_TABLE`.
    pub(in crate::firewall) const TABLE: u16 = 1;
    /// `NFTA_SET_ELEM_LIST_SET`.
    pub(in crate::firewall) const SET: u16 = 2;
    /// `NFTA_SET_ELEM_LIST_ELEMENTS`.
    pub(in crate::firewall) const ELEMENTS: u16 = 3;
    /// `NFTA_LIST_ELEM`.
    pub(in crate::firewall) const ELEMENT: u16 = 1;
    /// `NFTA_SET_ELEM_KEY`.
    pub(in crate::firewall) const KEY: u16 = 1;
    /// `NFTA_SET_ELEM_TIMEOUT`: milliseconds, in network byte order.
    pub(in crate::firewall) const TIMEOUT: u16 = 4;
    /// `NFTA_SET_ELEM_EXPR`: the only expression of an element.
    pub(in crate::firewall) const EXPRESSION: u16 = 7;
    /// `NFTA_SET_ELEM_EXPRESSIONS`: the list of them, where there are more.
    pub(in crate::firewall) const EXPRESSIONS: u16 = 11;
    /// `NFTA_EXPR_NAME`.
    pub(in crate::firewall) const NAME: u16 = 1;
    /// `NFTA_EXPR_DATA`.
    pub(in crate::firewall) const DATA: u16 = 2;
    /// `NFTA_COUNTER_BYTES`: in network byte order.
    pub(in crate::firewall) const COUNTED_BYTES: u16 = 1;
    /// `NFTA_COUNTER_PACKETS`: in network byte order.
    pub(in crate::firewall) const COUNTED_PACKETS: u16 = 2;
    /// `NFTA_DATA_VALUE`.
    pub(in crate::firewall) const VALUE: u16 = 1;
}

/// Does the set hold all of these addresses? A set or a table that is not there holds none.
pub(super) async fn holds(
    socket: &KeptSocket,
    set: &str,
    addresses: &[Address],
) -> Result<bool, HostCause> {
    let body = elements(set, addresses, None);
    match socket.get(GET_ELEMENTS, &body).await {
        Ok(found) => Ok(found.len() == addresses.len()),
        Err(HostCause::Errno {
            errno: errno::ENOENT,
        }) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Addresses that are granted by messages of one batch; more are given to nft, which splits them.
const MOST: usize = 256;

/// The messages of a batch that does nothing but grant addresses; none where it does anything else.
pub(super) fn messages(batch: &Transaction) -> Option<Vec<BatchMessage>> {
    let edits = batch.edits().iter();
    let messages: Vec<BatchMessage> = edits.map(message).collect::<Option<_>>()?;
    (!messages.is_empty()).then_some(messages)
}

fn message(edit: &Edit) -> Option<BatchMessage> {
    if edit.family != TableFamily::Inet {
        return None;
    }
    let (kind, flags, set, keys, timeout) = match &edit.command {
        NftCommand::AddElements {
            set,
            elements,
            timeout: Some(timeout),
            ..
        } => {
            let keys: Vec<&Vec<Atom>> = elements.iter().map(|element| &element.key).collect();
            (NEW_ELEMENTS, CREATE, set, keys, Some(*timeout))
        }
        NftCommand::DeleteElements { set, keys } => {
            (DELETE_ELEMENTS, 0, set, keys.iter().collect(), None)
        }
        _ => return None,
    };
    if !set.starts_with(GRANTED) {
        return None;
    }
    let addresses = keys.into_iter().map(|key| match key.as_slice() {
        [Atom::Address(address)] => Some(*address),
        _ => None,
    });
    let addresses: Vec<Address> = addresses.collect::<Option<_>>()?;
    (addresses.len() <= MOST).then(|| BatchMessage {
        kind,
        flags,
        body: elements(set, &addresses, timeout),
    })
}

/// Elements of a set in the form of netlink.
fn elements(set: &str, addresses: &[Address], timeout: Option<NonZeroU64>) -> Vec<u8> {
    let mut body = set_of_ours(set);
    nest(&mut body, attribute::ELEMENTS, |list| {
        for address in addresses {
            nest(list, attribute::ELEMENT, |element| {
                nest(element, attribute::KEY, |key| {
                    put(key, attribute::VALUE, &octets(address));
                });
                if let Some(seconds) = timeout {
                    let milliseconds = seconds.get().saturating_mul(1000);
                    put(element, attribute::TIMEOUT, &milliseconds.to_be_bytes());
                }
            });
        }
    });
    body
}

/// The beginning of each message about a set.
pub(super) fn set_of_ours(set: &str) -> Vec<u8> {
    let mut body = vec![INET, 0, 0, 0];
    put(&mut body, attribute::TABLE, &ended(TABLE));
    put(&mut body, attribute::SET, &ended(set));
    body
}

fn ended(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn octets(address: &Address) -> Vec<u8> {
    match address {
        Address::V4(four) => four.octets().to_vec(),
        Address::V6(six) => six.octets().to_vec(),
    }
}
