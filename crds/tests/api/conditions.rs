//! How conditions are kept.

use k8s_openapi::jiff::Timestamp;
use postern_crds::conditions::{ConditionType, Finding, Reason, find, is_current, is_true, set};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn the_transition_time_stays_while_the_status_stays() {
    let mut list = Vec::new();
    let first = Finding::no(ConditionType::Ready, Reason::NoPeerKey, "no key of gw-1");
    set(&mut list, &first, Some(1), at(100));
    let second = Finding::no(ConditionType::Ready, Reason::NoExit, "no exit");
    set(&mut list, &second, Some(2), at(200));

    assert_eq!(list.len(), 1);
    assert_eq!(list[0].last_transition_time.0, at(100));
    assert_eq!(list[0].reason, "NoExit");
    assert_eq!(list[0].message, "no exit");
    assert_eq!(list[0].observed_generation, Some(2));
}

#[test]
fn the_transition_time_moves_when_the_status_moves() {
    let mut list = Vec::new();
    let finding = Finding::unknown(ConditionType::Ready, Reason::Pending, "");
    set(&mut list, &finding, Some(1), at(100));
    let finding = Finding::yes(ConditionType::Ready, Reason::Ready, "");
    set(&mut list, &finding, Some(1), at(200));

    assert_eq!(list[0].last_transition_time.0, at(200));
    assert!(is_true(&list, ConditionType::Ready));
}

#[test]
fn types_do_not_touch_each_other() {
    let mut list = Vec::new();
    let ready = Finding::yes(ConditionType::Ready, Reason::Ready, "");
    let accepted = Finding::no(ConditionType::Accepted, Reason::NotPermitted, "");
    set(&mut list, &ready, None, at(100));
    set(&mut list, &accepted, None, at(200));

    assert!(is_true(&list, ConditionType::Ready));
    assert!(!is_true(&list, ConditionType::Accepted));
    assert!(!is_true(&list, ConditionType::Verified));
    assert_eq!(find(&list, ConditionType::Verified), None);
}

#[test]
fn a_transition_time_has_whole_seconds() {
    let mut list = Vec::new();
    let now: Timestamp = "2026-11-23T04:00:00.123456Z".parse().unwrap();
    set(
        &mut list,
        &Finding::yes(ConditionType::Ready, Reason::Ready, ""),
        None,
        now,
    );
    let json = serde_json::to_value(&list[0]).unwrap();
    assert_eq!(json["lastTransitionTime"], "2026-11-23T04:00:00Z");
}

#[test]
fn a_condition_of_an_earlier_generation_is_not_current() {
    let mut list = Vec::new();
    let ready = Finding::yes(ConditionType::Ready, Reason::Ready, "");
    set(&mut list, &ready, Some(3), at(100));
    assert!(is_current(&list[0], 3));
    assert!(!is_current(&list[0], 4));
    set(&mut list, &ready, None, at(100));
    assert!(!is_current(&list[0], 1));
}

#[test]
fn a_long_message_is_cut_to_what_the_schema_takes() {
    let mut list = Vec::new();
    let long = "é".repeat(5000);
    set(
        &mut list,
        &Finding::yes(ConditionType::Ready, Reason::Ready, long),
        None,
        at(0),
    );
    assert_eq!(list[0].message.chars().count(), 4096);
}

#[test]
fn every_word_reads_back_and_fits_the_schema() {
    let pattern = regex::Regex::new("^[A-Z][A-Za-z0-9]{1,63}$").unwrap();
    for word in Reason::ALL {
        assert_eq!(Reason::parse(word.as_str()), Some(*word));
        assert!(pattern.is_match(word.as_str()));
        assert!(word.sentence().ends_with('.'), "{word}");
    }
    for word in ConditionType::ALL {
        assert_eq!(ConditionType::parse(word.as_str()), Some(*word));
        assert!(pattern.is_match(word.as_str()));
    }
    assert_eq!(Reason::parse("Nonsense"), None);
}
