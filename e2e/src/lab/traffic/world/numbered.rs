//! Names with a number, for measurements: the answer reuses the bytes of the question, so that this server is never the
//! bottleneck.

use std::net::Ipv4Addr;

/// Bytes before the first question (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
/// Where all of these names end.
const ZONE: [&[u8]; 3] = [b"numbered", b"world", b"test"];
/// The first of the addresses, a public one that no special range contains.
const FIRST: Ipv4Addr = Ipv4Addr::new(16, 0, 0, 0);
/// Time to live in seconds; 0 with the label `ttl-0`, so that no cache keeps the answer.
const TTL: u32 = 300;

/// The answer for `n7.numbered.world.test`: the seventh address after the first one, whatever kind was asked for. None for all
/// other names and messages.
pub(super) fn numbered(query: &[u8]) -> Option<Vec<u8>> {
    let (labels, end) = labels(query)?;
    let (inner, zone) = labels.split_at_checked(labels.len().checked_sub(ZONE.len())?)?;
    if zone != ZONE {
        return None;
    }
    let digits = inner.first()?.strip_prefix(b"n")?;
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let ttl = if inner.contains(&&b"ttl-0"[..]) {
        0
    } else {
        TTL
    };
    let mut answer = query.get(..end + 4)?.to_vec();
    // A response with authority that leaves the wish for recursion as it was; one question, one answer and nothing else.
    let (flags, counts) = answer.get_mut(2..HEADER)?.split_at_mut(2);
    let [first, second] = flags else { return None };
    (*first, *second) = (*first & 0x01 | 0x84, 0);
    counts.copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    // The name of the question, type A, class IN.
    answer.extend([0xc0, 12, 0, 1, 0, 1]);
    answer.extend(ttl.to_be_bytes());
    answer.extend([0, 4]);
    answer.extend(u32::from(FIRST).checked_add(number)?.to_be_bytes());
    Some(answer)
}

/// The labels of the first question, and where its name ends.
fn labels(query: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let (mut labels, mut at) = (Vec::with_capacity(8), HEADER);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels, at));
        }
        labels.push(query.get(at..at + length)?);
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};

    use super::numbered;

    fn ask(name: &str) -> Option<Message> {
        let mut query = Message::query();
        query.metadata.id = 7;
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        let answer = numbered(&query.to_vec().unwrap())?;
        Some(Message::from_vec(&answer).unwrap())
    }

    #[test]
    fn a_number_is_an_address_and_other_names_are_not_answered_here() {
        let answer = ask("n260.ttl-0.numbered.world.test.").unwrap();
        let record = &answer.answers[0];
        assert_eq!((answer.metadata.id, record.ttl), (7, 0));
        assert_eq!(record.data.to_string(), "16.0.1.4");
        assert_eq!(record.name.to_ascii(), "n260.ttl-0.numbered.world.test.");
        assert_eq!(
            ask("n260.numbered.world.test.").unwrap().answers[0].ttl,
            300
        );
        for other in [
            "n260.world.test.",
            "x.numbered.world.test.",
            "numbered.world.test.",
        ] {
            assert!(ask(other).is_none(), "{other}");
        }
    }
}
