//! Messages that no well-meaning program sends.

use std::net::IpAddr;
use std::path::Path;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use postern_host_testing::fuzz::{Corpus, InputForm};

use super::filter::{FilteredAnswer, filter};
use super::question::{Code, DnsQuestion, MessageError, bare_answer, id_of, with_id};

fn corpus(folder: &str) -> Corpus {
    Corpus::read(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/corpus")
            .join(folder),
    )
}

/// Addresses that an answer may bring.
fn may_bring(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 203,
        IpAddr::V6(address) => address.segments()[0] == 0x2001,
    }
}

#[test]
fn no_question_breaks_the_reader_and_each_that_is_read_is_repeated_in_its_answer() {
    corpus("dns-queries").feed(InputForm::Bytes, |message| {
        let question = match DnsQuestion::read(message) {
            Ok(question) => question,
            Err(MessageError::Answered(code)) => {
                let answer = bare_answer(message, code);
                assert_eq!(answer[..2], message[..2]);
                return;
            }
            Err(MessageError::NoQuery) => return,
        };
        assert!(!question.canonical_name().is_empty() || question.name.is_root());
        let answer = question.answer(message, Code::Failed);
        assert_eq!(id_of(&answer), id_of(message));
        let other = with_id(message, [9, 9]);
        assert!(question.is_answered_by(&other, &with_id(&answer, [9, 9])));
        assert!(DnsQuestion::read(&other).is_ok());
    });
}

#[test]
fn no_answer_breaks_the_filter_or_brings_an_address_that_it_may_not() {
    let query =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/dns-queries/a.bin"));
    let question = DnsQuestion::read(&query.unwrap()).unwrap();
    corpus("dns-answers").feed(InputForm::Bytes, |answer| {
        let FilteredAnswer::Brought { answer, addresses } = filter(&question, answer, may_bring)
        else {
            return;
        };
        assert!(addresses.keys().all(may_bring), "{addresses:?}");
        let Ok(message) = Message::from_vec(&answer) else {
            return;
        };
        let sections = [message.answers, message.authorities, message.additionals];
        for record in sections.iter().flatten() {
            let address: IpAddr = match &record.data {
                RData::A(address) => address.0.into(),
                RData::AAAA(address) => address.0.into(),
                _ => continue,
            };
            assert!(may_bring(&address), "{record}");
        }
    });
}
