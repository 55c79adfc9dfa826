//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_crds::{Selector, SelectorError};
use rstest::rstest;
use serde_json::{Value, json};

fn parse(raw: Value) -> Result<Selector, SelectorError> {
    let raw: LabelSelector = serde_json::from_value(raw).unwrap();
    Selector::parse(&raw)
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
}

#[rstest]
#[case::everything(json!({}), &[], true)]
#[case::equal(json!({"matchLabels": {"a": "1"}}), &[("a", "1"), ("b", "2")], true)]
#[case::other_value(json!({"matchLabels": {"a": "1"}}), &[("a", "2")], false)]
#[case::one_of_two_labels(json!({"matchLabels": {"a": "1", "b": "2"}}), &[("a", "1")], false)]
#[case::within(expression("a", "In", &["1", "2"]), &[("a", "2")], true)]
#[case::not_within(expression("a", "In", &["1", "2"]), &[("a", "3")], false)]
#[case::within_without_label(expression("a", "In", &["1"]), &[], false)]
#[case::not_in_without_label(expression("a", "NotIn", &["1"]), &[], true)]
#[case::not_in_with_value(expression("a", "NotIn", &["1"]), &[("a", "1")], false)]
#[case::exists(expression("a", "Exists", &[]), &[("a", "")], true)]
#[case::exists_not(expression("a", "Exists", &[]), &[("b", "")], false)]
#[case::absent(expression("a", "DoesNotExist", &[]), &[("b", "")], true)]
#[case::not_absent(expression("a", "DoesNotExist", &[]), &[("a", "")], false)]
fn an_expression_selects_the_labels_that_it_describes(
    #[case] raw: Value,
    #[case] labels: &[(&str, &str)],
    #[case] expected: bool,
) {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(parse(raw).unwrap().matches(&labels), expected);
}

#[test]
fn an_expression_that_says_nothing_is_an_error_and_not_a_match() {
    assert!(matches!(
        parse(expression("a", "In", &[])),
        Err(SelectorError::NoValues { .. })
    ));
    assert!(matches!(
        parse(expression("a", "Exists", &["1"])),
        Err(SelectorError::UnexpectedValues { .. })
    ));
    assert!(matches!(
        parse(expression("a", "Gt", &["1"])),
        Err(SelectorError::UnknownOperator { .. })
    ));
}

#[rstest]
#[case::name("app")]
#[case::mixed("App.k8s_io-1")]
#[case::prefixed("postern.dev/egress-default")]
#[case::digits("9/9")]
fn a_key_that_a_label_can_have_is_taken(#[case] key: &str) {
    assert!(parse(json!({"matchLabels": {key: "1"}})).is_ok());
    assert!(parse(expression(key, "Exists", &[])).is_ok());
}

#[rstest]
#[case::blank("bad key!")]
#[case::empty("")]
#[case::no_name("example.org/")]
#[case::no_prefix("/app")]
#[case::two_slashes("a/b/c")]
#[case::upper_prefix("Example.org/app")]
#[case::empty_label("a..b/app")]
#[case::hyphen("-app")]
#[case::long("a234567890123456789012345678901234567890123456789012345678901234")]
fn a_key_that_no_label_can_have_is_refused_by_name(#[case] key: &str) {
    for raw in [
        json!({"matchLabels": {key: "1"}}),
        expression(key, "Exists", &[]),
    ] {
        let refused = parse(raw).unwrap_err();
        assert!(matches!(refused, SelectorError::NoKey { .. }), "{refused}");
        assert!(refused.to_string().contains("PREFIX/NAME"), "{refused}");
    }
}
