use std::net::Ipv6Addr;
use std::time::Duration;

use hickory_proto::op::{OpCode, Query};
use hickory_proto::rr::rdata::svcb::SvcParamKey;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, NULL, TXT};
use hickory_proto::rr::{DNSClass, RecordType};
use nix::time::ClockId;

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

fn alias(owner: &str, target: &str) -> Record {
    record(owner, 300, RData::CNAME(CNAME(name(target))))
}

fn address(owner: &str, ttl: u32, address: &str) -> Record {
    let data = match address.parse().unwrap() {
        IpAddr::V4(four) => RData::A(A(four)),
        IpAddr::V6(six) => RData::AAAA(AAAA(six)),
    };
    record(owner, ttl, data)
}

/// A question with its answer, as bytes.
fn exchange(asked: &str, kind: RecordType, answers: Vec<Record>) -> (DnsQuestion, Message) {
    let mut query = Message::query();
    query.add_query(Query::query(name(asked), kind));
    let question = DnsQuestion::read(&query.to_vec().unwrap()).unwrap();
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_query(Query::query(name(asked), kind));
    answer.insert_answers(answers);
    (question, answer)
}

/// Everything may be brought but 10/8 and what is below fd00::/8.
fn may_bring(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.octets()[0] != 10,
        IpAddr::V6(six) => six.segments()[0] >> 8 != 0xfd,
    }
}

fn judged(asked: &str, kind: RecordType, answers: Vec<Record>) -> FilteredAnswer {
    let (question, answer) = exchange(asked, kind, answers);
    filter(&question, &answer.to_vec().unwrap(), may_bring)
}

/// Addresses with their times, and the records that are left.
fn brought(asked: &str, kind: RecordType, answers: Vec<Record>) -> (Vec<String>, Vec<Record>) {
    let FilteredAnswer::Brought { answer, addresses } = judged(asked, kind, answers) else {
        panic!("nothing is brought")
    };
    let addresses = addresses.iter();
    let addresses = addresses.map(|(address, ttl)| format!("{address} {ttl}"));
    let left = Message::from_vec(&answer).unwrap().answers;
    (addresses.collect(), left)
}

#[test]
fn an_answer_brings_the_addresses_of_the_queried_name_and_passes_as_it_is() {
    let (question, answer) = exchange(
        "Api.Example.ORG.",
        RecordType::A,
        vec![
            address("aPI.example.org.", 30, "192.0.2.1"),
            address("api.example.org.", 0, "192.0.2.2"),
        ],
    );
    let bytes = answer.to_vec().unwrap();
    let wanted = [("192.0.2.1", 30), ("192.0.2.2", 0)];
    assert_eq!(
        filter(&question, &bytes, may_bring),
        FilteredAnswer::Brought {
            answer: bytes,
            addresses: wanted.map(|(one, ttl)| (one.parse().unwrap(), ttl)).into(),
        }
    );
}

#[test]
fn aliases_are_followed_in_any_order_and_what_they_do_not_lead_to_is_not_granted() {
    let answers = vec![
        address("edge.cdn.net.", 20, "192.0.2.7"),
        alias("b.example.org.", "edge.CDN.net."),
        alias("api.example.org.", "b.example.org."),
        address("other.example.org.", 20, "192.0.2.8"),
        alias("x.example.org.", "api.example.org."),
        address("x.example.org.", 20, "192.0.2.9"),
    ];
    let (addresses, left) = brought("api.example.org.", RecordType::A, answers);
    assert_eq!(addresses, ["192.0.2.7 20"]);
    assert_eq!(left.len(), 6);
}

#[test]
fn aliases_in_a_circle_end() {
    let circle = vec![alias("a.org.", "b.org."), alias("b.org.", "a.org.")];
    assert_eq!(brought("a.org.", RecordType::A, circle).0, [""; 0]);
}

#[test]
fn an_address_of_another_class_is_none() {
    let mut chaos = address("a.example.org.", 20, "192.0.2.7");
    chaos.dns_class = DNSClass::CH;
    assert_eq!(
        brought("a.example.org.", RecordType::A, vec![chaos]).0,
        [""; 0]
    );
}

#[test]
fn what_may_not_be_brought_is_taken_out_of_every_section_and_the_rest_is_brought() {
    let (question, mut answer) = exchange(
        "a.example.org.",
        RecordType::A,
        vec![
            address("a.example.org.", 20, "10.0.0.1"),
            address("a.example.org.", 20, "192.0.2.7"),
        ],
    );
    answer.add_additional(address("ns.example.org.", 20, "10.0.0.2"));
    answer.add_additional(address("ns.example.org.", 20, "192.0.2.53"));
    let found = filter(&question, &answer.to_vec().unwrap(), may_bring);
    let FilteredAnswer::Brought { answer, addresses } = found else {
        panic!("{found:?}")
    };
    assert_eq!(addresses, [("192.0.2.7".parse().unwrap(), 20)].into());
    let left = Message::from_vec(&answer).unwrap();
    assert_eq!(left.answers, [address("a.example.org.", 20, "192.0.2.7")]);
    assert_eq!(
        left.additionals,
        [address("ns.example.org.", 20, "192.0.2.53")]
    );
}

#[test]
fn an_answer_that_leads_to_nothing_else_is_refused() {
    for (kind, one) in [(RecordType::A, "10.0.0.1"), (RecordType::AAAA, "fd00::1")] {
        let answers = vec![
            alias("a.example.org.", "b.evil.net."),
            address("b.evil.net.", 20, one),
        ];
        assert_eq!(
            judged("a.example.org.", kind, answers),
            FilteredAnswer::Refused
        );
    }
}

#[test]
fn an_answer_without_addresses_passes_as_it_is() {
    let text = record(
        "a.example.org.",
        20,
        RData::TXT(TXT::new(vec!["x".to_owned()])),
    );
    assert_eq!(
        brought("a.example.org.", RecordType::TXT, vec![text])
            .1
            .len(),
        1
    );
    assert_eq!(
        brought("a.example.org.", RecordType::A, Vec::new()).0,
        [""; 0]
    );
}

fn service(four: &[&str], six: &[&str]) -> Record {
    let four = four.iter().map(|one| A(one.parse().unwrap())).collect();
    let six = six.iter().map(|one| AAAA(one.parse().unwrap())).collect();
    let hints = vec![
        (SvcParamKey::Port, SvcParamValue::Port(443)),
        (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(four))),
        (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(six))),
    ];
    let service = SVCB::new(1, Name::root(), hints);
    record("a.example.org.", 20, RData::HTTPS(HTTPS(service)))
}

#[test]
fn hints_are_granted_like_addresses_and_those_that_may_not_be_brought_are_taken_out() {
    let answer = vec![service(&["192.0.2.7"], &["2001:db8::7"])];
    let (addresses, left) = brought("a.example.org.", RecordType::HTTPS, answer.clone());
    assert_eq!(addresses, ["192.0.2.7 20", "2001:db8::7 20"]);
    assert_eq!(left, answer);
    let answer = vec![service(&["192.0.2.7", "10.0.0.1"], &["fd00::7"])];
    let (addresses, left) = brought("a.example.org.", RecordType::HTTPS, answer);
    assert_eq!(addresses, ["192.0.2.7 20"]);
    let RData::HTTPS(rest) = &left[0].data else {
        panic!("{left:?}")
    };
    assert_eq!(
        rest.0.svc_params.len(),
        2,
        "an empty list of hints goes: {rest:?}"
    );
    // Without hints the client asks for addresses.
    let answer = vec![service(&["10.0.0.1"], &["fd00::7"])];
    let (addresses, left) = brought("a.example.org.", RecordType::HTTPS, answer);
    assert_eq!((addresses.len(), left.len()), (0, 1));
}

#[test]
fn a_hundred_addresses_of_a_name_are_all_brought() {
    let all = (0..100).map(|last| address("a.example.org.", 20, &format!("192.0.2.{last}")));
    let (addresses, _) = brought("a.example.org.", RecordType::A, all.collect());
    assert_eq!(addresses.len(), 100);
}

#[test]
fn records_that_are_not_known_pass_unchanged_also_where_others_are_taken_out() {
    // RRSIG, which this build does not read, has the number 46.
    let signature = RData::Unknown {
        code: RecordType::from(46),
        rdata: NULL::with(vec![1, 2, 3, 4]),
    };
    let answers = vec![
        address("a.example.org.", 20, "192.0.2.7"),
        address("a.example.org.", 20, "10.0.0.1"),
        record("a.example.org.", 20, signature.clone()),
    ];
    let (_, left) = brought("a.example.org.", RecordType::A, answers);
    assert_eq!(left[1].data, signature);
}

#[test]
fn an_answer_that_was_cut_in_a_record_is_the_question_with_its_flag() {
    let (question, mut answer) = exchange(
        "a.example.org.",
        RecordType::A,
        vec![address("a.example.org.", 20, "192.0.2.7")],
    );
    answer.metadata.truncation = true;
    let whole = answer.to_vec().unwrap();
    let cut = &whole[..whole.len() - 3];
    let FilteredAnswer::Brought { answer, addresses } = filter(&question, cut, may_bring) else {
        panic!("it is not brought")
    };
    assert!(addresses.is_empty());
    let read = Message::from_vec(&answer).unwrap();
    assert!(read.metadata.truncation && read.answers.is_empty());
    assert_eq!(read.queries.len(), 1);
    let (question, answer) = exchange(
        "a.example.org.",
        RecordType::A,
        vec![address("a.example.org.", 20, "192.0.2.7")],
    );
    let whole = answer.to_vec().unwrap();
    let cut = filter(&question, &whole[..whole.len() - 3], may_bring);
    assert_eq!(cut, FilteredAnswer::Unreadable);
}

#[test]
fn bytes_of_chance_never_panic_and_never_bring_what_may_not_be_brought() {
    let (question, answer) = exchange(
        "a.example.org.",
        RecordType::AAAA,
        vec![
            alias("a.example.org.", "b.example.org."),
            address("b.example.org.", 20, "fd00::1"),
            address("b.example.org.", 20, "2001:db8::1"),
            service(&["10.0.0.1"], &["2001:db8::7"]),
        ],
    );
    let bytes = answer.to_vec().unwrap();
    let mut number = 1_u64;
    for _ in 0..20_000 {
        let mut changed = bytes.clone();
        for _ in 0..3 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // The question was compared with the one that was asked before anything else is read.
            let behind = changed.len() - question.end();
            let at = question.end() + (number >> 33) as usize % behind;
            changed[at] = (number >> 24) as u8;
        }
        if let FilteredAnswer::Brought { answer, addresses } =
            filter(&question, &changed, may_bring)
        {
            assert!(addresses.keys().all(may_bring));
            let read = Message::from_vec(&answer).unwrap();
            let mut left = read
                .all_sections()
                .flat_map(|record| super::addresses(&record.data));
            assert!(left.all(|address| may_bring(&address)) || read.answers.is_empty());
        }
    }
    assert!(!may_bring(&Ipv6Addr::from(0xfd00_u128 << 112).into()));
}

#[test]
fn a_long_chain_of_aliases_in_the_wrong_order_costs_no_time_and_brings_nothing() {
    let link = |at: usize| format!("{at:x}.example.org.");
    let chain = |length: usize| {
        let mut aliases: Vec<Record> = (0..length)
            .map(|at| alias(&link(at), &link(at + 1)))
            .collect();
        aliases.push(address(&link(length), 60, "192.0.2.1"));
        aliases.reverse();
        aliases
    };
    // The time of this thread: a machine under load takes none of it.
    let now = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
    let began = now();
    assert!(
        brought("0.example.org.", RecordType::A, chain(1200))
            .0
            .is_empty()
    );
    let took = now() - began;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (few, _) = brought("0.example.org.", RecordType::A, chain(20));
    assert_eq!(few, ["192.0.2.1 60"]);
}
