//! What is read of a DNS message: the header and its one question (RFC 1035, section 4.1).

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

/// Bytes of a header.
const HEADER: usize = 12;
/// The bit that makes a message a response, in its third byte.
const RESPONSE: u8 = 0x80;
/// The four bits of the operation, in the third byte; 0 is a standard query.
const OPERATION: u8 = 0x78;
/// The bit of an answer that did not fit, in the third byte.
pub(super) const TRUNCATED: u8 = 0x02;
/// The longest answer in a datagram to a client that names no other size (RFC 1035, section 4.2.1).
const LONGEST_DATAGRAM: usize = 512;
/// "Recursion desired", in the third byte.
const RECURSION_DESIRED: u8 = 0x01;
/// "Recursion available", in the fourth byte.
const RECURSION_AVAILABLE: u8 = 0x80;

/// Response codes that the forwarder gives by itself (RFC 1035, section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Malformed = 1,
    Failed = 2,
    NoName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// Why a message is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageError {
    /// It is no query: whatever is answered could start a loop.
    NoQuery,
    /// It is a query that is answered with this code.
    Answered(Code),
}

/// The one question of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DnsQuestion {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    /// Where the question ends in the message.
    end: usize,
}

impl DnsQuestion {
    /// Reads the question of a query.
    pub(super) fn read(message: &[u8]) -> Result<Self, MessageError> {
        let (Some(header), Some(flags)) = (message.get(..HEADER), message.get(2)) else {
            return Err(MessageError::NoQuery);
        };
        if flags & RESPONSE != 0 {
            return Err(MessageError::NoQuery);
        }
        if flags & OPERATION != 0 {
            return Err(MessageError::Answered(Code::NotImplemented));
        }
        let malformed = MessageError::Answered(Code::Malformed);
        // One question, no answers and no authorities; additional records may carry EDNS and TSIG.
        if header.get(4..10) != Some(&[0, 1, 0, 0, 0, 0]) {
            return Err(malformed);
        }
        let mut decoder = BinDecoder::new(message);
        decoder.read_slice(HEADER).map_err(|_| malformed)?;
        let query = Query::read(&mut decoder).map_err(|_| malformed)?;
        let question = Self {
            name: query.name().clone(),
            kind: query.query_type(),
            end: decoder.index(),
        };
        // A name that points elsewhere in the message could be read in another way by others.
        if question.end == HEADER + encoded(&question.name) + 4 {
            Ok(question)
        } else {
            Err(malformed)
        }
    }

    /// The name in the form in which rules have names. A letter that no name of a rule has is written as an escape, so that
    /// such a name is no rule's.
    pub(super) fn canonical_name(&self) -> String {
        let name = self.name.to_lowercase().to_ascii();
        name.strip_suffix('.').unwrap_or(&name).to_owned()
    }

    /// Where the question ends in the message.
    #[cfg(test)]
    pub(super) const fn end(&self) -> usize {
        self.end
    }

    /// Is this message the answer to the question, as it was sent in `query`?
    ///
    /// Id and question have to be the same; letters may differ in case. A resolver that could not
    /// read the question may leave it out, with a code that says so.
    pub(super) fn is_answered_by(&self, query: &[u8], message: &[u8]) -> bool {
        let (Some(sent), Some(came)) = (query.get(..HEADER), message.get(..HEADER)) else {
            return false;
        };
        let (id, flags, count) = (came.get(..2), came.get(2), came.get(4..6));
        if id != sent.get(..2) || flags.is_none_or(|flags| flags & RESPONSE == 0) {
            return false;
        }
        match count {
            Some([0, 0]) => came.get(3).is_some_and(|flags| flags & 0x0f != 0),
            Some([0, 1]) => match (query.get(HEADER..self.end), message.get(HEADER..self.end)) {
                (Some(asked), Some(answered)) => asked.eq_ignore_ascii_case(answered),
                _ => false,
            },
            _ => false,
        }
    }

    /// The answer as a datagram to who sent this query. A resolver may send more than it was asked for; without its records, and with the
    /// flag that says so, the pod asks again over TCP (RFC 6891, section 6.2.5).
    pub(super) fn in_datagram(&self, query: &[u8], answer: Vec<u8>) -> Vec<u8> {
        if answer.len() <= LONGEST_DATAGRAM {
            return answer;
        }
        let query = Message::from_vec(query).ok();
        let asked = query.and_then(|query| query.edns);
        let size = asked.map_or(0, |edns| edns.max_payload().into());
        match answer.len() <= LONGEST_DATAGRAM.max(size) {
            true => answer,
            false => self.cut(&answer).unwrap_or(answer),
        }
    }

    /// An answer to this question without its records, also without EDNS (which clients take, and then ask over TCP), and with the flag that
    /// says that they are missing.
    pub(super) fn cut(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let mut bare = answer.get(..self.end)?.to_vec();
        *bare.get_mut(2)? |= TRUNCATED;
        // Counts of answers, authorities and additional records.
        bare.get_mut(6..HEADER)?.fill(0);
        Some(bare)
    }

    /// An answer without records to this question.
    pub(super) fn answer(&self, query: &[u8], code: Code) -> Vec<u8> {
        let mut message = bare_answer(query, code);
        if let (Some(count), Some(question)) = (message.get_mut(5), query.get(HEADER..self.end)) {
            *count = 1;
            message.extend_from_slice(question);
        }
        message
    }
}

/// Bytes of a name without compression: each label with its length, and the root.
fn encoded(name: &Name) -> usize {
    if name.is_root() { 1 } else { name.len() + 1 }
}

/// A header that answers a message whose question is not read.
pub(super) fn bare_answer(query: &[u8], code: Code) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    if let ([one, two, flags, more, ..], [id_one, id_two, asked, ..]) =
        (message.as_mut_slice(), query)
    {
        (*one, *two) = (*id_one, *id_two);
        *flags = RESPONSE | (asked & (OPERATION | RECURSION_DESIRED));
        *more = RECURSION_AVAILABLE | code as u8;
    }
    message
}

/// The same message under another id.
pub(super) fn with_id(message: &[u8], id: [u8; 2]) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(bytes) = message.get_mut(..2) {
        bytes.copy_from_slice(&id);
    }
    message
}

/// The id of a message, 0 for what is too short to have one.
pub(super) fn id_of(message: &[u8]) -> [u8; 2] {
    match message {
        [one, two, ..] => [*one, *two],
        _ => [0, 0],
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Edns;

    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";

    fn changed(at: usize, byte: u8) -> Vec<u8> {
        let mut message = QUERY.to_vec();
        message[at] = byte;
        message
    }

    #[test]
    fn reads_name_and_kind() {
        let question = DnsQuestion::read(QUERY).unwrap();
        assert_eq!(question.name.to_ascii(), "example.com.");
        assert_eq!(question.kind, RecordType::A);
        let root = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01";
        assert_eq!(DnsQuestion::read(root).unwrap().name, Name::root());
    }

    #[test]
    fn a_response_or_a_fragment_is_not_answered() {
        for message in [changed(2, 0x81), QUERY[..11].to_vec(), Vec::new()] {
            assert_eq!(DnsQuestion::read(&message), Err(MessageError::NoQuery));
        }
    }

    #[test]
    fn another_operation_or_number_of_questions_is_answered_with_its_code() {
        let update = DnsQuestion::read(&changed(2, 0x28));
        assert_eq!(update, Err(MessageError::Answered(Code::NotImplemented)));
        for malformed in [
            changed(5, 2),
            changed(5, 0),
            changed(7, 1),
            QUERY[..20].to_vec(),
            changed(12, 0xc0),
        ] {
            assert_eq!(
                DnsQuestion::read(&malformed),
                Err(MessageError::Answered(Code::Malformed))
            );
        }
    }

    #[test]
    fn a_name_that_points_into_the_message_is_malformed() {
        let pointing =
            b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\xc0\x04\x00\x01\x00\x01";
        assert_eq!(
            DnsQuestion::read(pointing),
            Err(MessageError::Answered(Code::Malformed))
        );
    }

    #[test]
    fn an_answer_has_the_id_and_the_question() {
        let question = DnsQuestion::read(QUERY).unwrap();
        let answer = changed(2, 0x81);
        assert!(question.is_answered_by(QUERY, &answer));
        assert!(question.is_answered_by(QUERY, &answer.to_ascii_uppercase()));
        assert!(!question.is_answered_by(QUERY, QUERY));
        assert!(!question.is_answered_by(QUERY, &with_id(&answer, [9, 9])));
        let mut other = answer.clone();
        other[13] = b'X';
        assert!(!question.is_answered_by(QUERY, &other));
        assert!(!question.is_answered_by(QUERY, &answer[..20]));
    }

    #[test]
    fn an_answer_of_our_own_repeats_id_question_and_wish_for_recursion() {
        let question = DnsQuestion::read(QUERY).unwrap();
        let answer = question.answer(QUERY, Code::Refused);
        assert_eq!(
            answer[..12],
            *b"\x12\x34\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00"
        );
        assert_eq!(answer[12..], QUERY[12..]);
        assert!(question.is_answered_by(QUERY, &answer));
    }

    /// A query for a name, with room for a datagram of so many bytes.
    fn query(size: Option<u16>) -> (DnsQuestion, Vec<u8>) {
        let mut message = Message::query();
        message.add_query(Query::query(
            Name::from_ascii("a.example.org.").unwrap(),
            RecordType::A,
        ));
        message.edns = size.map(|size| {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            edns
        });
        let query = message.to_vec().unwrap();
        (DnsQuestion::read(&query).unwrap(), query)
    }

    /// An answer of so many bytes to a query.
    fn answer(question: &DnsQuestion, query: &[u8], length: usize) -> Vec<u8> {
        let mut answer = question.answer(query, Code::Failed);
        answer.resize(length, 0);
        answer
    }

    #[test]
    fn an_answer_that_its_client_has_no_room_for_is_cut_to_its_question() {
        for (size, room) in [
            (None, 512),
            (Some(100), 512),
            (Some(512), 512),
            (Some(1232), 1232),
        ] {
            let (question, query) = query(size);
            let whole = answer(&question, &query, room);
            assert_eq!(
                question.in_datagram(&query, whole.clone()),
                whole,
                "{size:?}"
            );
            let cut = question.in_datagram(&query, answer(&question, &query, room + 1));
            assert_eq!(cut.len(), question.end(), "{size:?}");
            assert_eq!(cut[2] & TRUNCATED, TRUNCATED);
            assert_eq!(cut[6..12], [0; 6]);
            let read = Message::from_vec(&cut).unwrap();
            assert_eq!((read.queries.len(), read.answers.len()), (1, 0));
        }
    }
}
