//! What an answer brings to a pod whose names are filtered. Pure: the answer and the judgement of an address are arguments.
//!
//! The bytes of an answer pass as they are, signatures included, unless an address has to be taken out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamValue};
use hickory_proto::rr::{DNSClass, Name, RData, Record};

use super::question::{DnsQuestion, TRUNCATED};

/// What becomes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FilteredAnswer {
    /// It goes to the pod once its addresses are granted.
    Brought {
        answer: Vec<u8>,
        /// Each address that the queried name leads to, with its time to live in seconds.
        addresses: BTreeMap<IpAddr, u32>,
    },
    /// It led to addresses, and none of them may be brought.
    Refused,
    /// It is no message that can be read.
    Unreadable,
}

/// Judges an answer to a question. `may_bring` decides whether an answer may contain an address at all.
pub(super) fn filter(
    question: &DnsQuestion,
    answer: &[u8],
    may_bring: impl Fn(&IpAddr) -> bool,
) -> FilteredAnswer {
    let Ok(mut message) = Message::from_vec(answer) else {
        return match truncated(answer, question) {
            Some(answer) => FilteredAnswer::Brought {
                answer,
                addresses: BTreeMap::new(),
            },
            None => FilteredAnswer::Unreadable,
        };
    };
    let names = chain(&question.name, &message.answers);
    let (mut removed, mut bare) = (0, 0);
    let sections = [
        &mut message.answers,
        &mut message.authorities,
        &mut message.additionals,
    ];
    for section in sections {
        section.retain_mut(|record| {
            let hints = without_hints(record, &may_bring);
            let stays = is_brought(record, &may_bring);
            bare += hints;
            removed += usize::from(!stays);
            stays
        });
    }
    let addresses = brought(&names, &message.answers);
    if removed + bare == 0 {
        return FilteredAnswer::Brought {
            answer: answer.to_vec(),
            addresses,
        };
    }
    if removed > 0 && addresses.is_empty() {
        return FilteredAnswer::Refused;
    }
    match message.to_vec() {
        // Who sent the answer may have packed it better than we do, and a datagram must not grow.
        Ok(shorter) if shorter.len() <= answer.len() => FilteredAnswer::Brought {
            answer: shorter,
            addresses,
        },
        _ => FilteredAnswer::Unreadable,
    }
}

/// An answer that was cut in the middle of a record, without its records.
fn truncated(answer: &[u8], question: &DnsQuestion) -> Option<Vec<u8>> {
    let is_cut = answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0);
    question.cut(answer).filter(|_| is_cut)
}

/// Aliases in the wrong order that are followed. Resolvers give up sooner, and a longer chain is made to keep this node busy: what it
/// leads to is not granted.
const MOST_ALIASES: usize = 32;

/// The names that the queried one leads to by aliases of this answer, itself included.
fn chain(name: &Name, answers: &[Record]) -> BTreeSet<Name> {
    let mut names = BTreeSet::from([name.to_lowercase()]);
    // Each round finds at least one more alias, or was the last one.
    for _ in 0..answers.len().min(MOST_ALIASES) {
        let before = names.len();
        for record in answers {
            if let RData::CNAME(target) = &record.data
                && is_of(record, &names)
            {
                names.insert(target.0.to_lowercase());
            }
        }
        if names.len() == before {
            break;
        }
    }
    names
}

fn is_of(record: &Record, names: &BTreeSet<Name>) -> bool {
    record.dns_class == DNSClass::IN && names.contains(&record.name.to_lowercase())
}

/// Addresses of these names, each with the longest of its times to live.
fn brought(names: &BTreeSet<Name>, answers: &[Record]) -> BTreeMap<IpAddr, u32> {
    let mut found = BTreeMap::new();
    for record in answers.iter().filter(|record| is_of(record, names)) {
        for address in addresses(&record.data) {
            let lasts: &mut u32 = found.entry(address).or_default();
            *lasts = record.ttl.max(*lasts);
        }
    }
    found
}

fn addresses(data: &RData) -> Vec<IpAddr> {
    match data {
        RData::A(address) => vec![address.0.into()],
        RData::AAAA(address) => vec![address.0.into()],
        RData::HTTPS(service) => hints(&service.0),
        RData::SVCB(service) => hints(service),
        _ => Vec::new(),
    }
}

/// Addresses that a client may use before it has asked for any (RFC 9460, section 7.3).
fn hints(service: &SVCB) -> Vec<IpAddr> {
    let hints = service
        .svc_params
        .iter()
        .flat_map(|(_, value)| match value {
            SvcParamValue::Ipv4Hint(IpHint(hints)) => {
                hints.iter().map(|hint| hint.0.into()).collect()
            }
            SvcParamValue::Ipv6Hint(IpHint(hints)) => {
                hints.iter().map(|hint| hint.0.into()).collect()
            }
            _ => Vec::<IpAddr>::new(),
        });
    hints.collect()
}

fn is_brought(record: &Record, may_bring: impl Fn(&IpAddr) -> bool) -> bool {
    match &record.data {
        RData::A(address) => may_bring(&address.0.into()),
        RData::AAAA(address) => may_bring(&address.0.into()),
        _ => true,
    }
}

/// Takes the hints out that may not be brought, and counts them.
fn without_hints(record: &mut Record, may_bring: impl Fn(&IpAddr) -> bool) -> usize {
    let service = match &mut record.data {
        RData::HTTPS(service) => &mut service.0,
        RData::SVCB(service) => service,
        _ => return 0,
    };
    let before = hints(service).len();
    service.svc_params.retain_mut(|(_, value)| match value {
        SvcParamValue::Ipv4Hint(IpHint(hints)) => {
            hints.retain(|hint| may_bring(&hint.0.into()));
            // A list of hints is not empty.
            !hints.is_empty()
        }
        SvcParamValue::Ipv6Hint(IpHint(hints)) => {
            hints.retain(|hint| may_bring(&hint.0.into()));
            !hints.is_empty()
        }
        _ => true,
    });
    before - hints(service).len()
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
