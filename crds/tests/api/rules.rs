//! Every CEL rule has an object that this rule alone refuses.
//!
//! The rules are collected from the published schemas, so that a rule without a case is found; each
//! case is judged twice, with its rule and without it, so that a case that another rule decides, or
//! that nothing decides, is found as well.

use kube::core::cel::Validator;
use postern_crds::definition::{self, ResourceDefinition};
use serde::Deserialize;
use serde_json::Value;

use crate::case_files::{Case, cases};
use crate::openapi;
use crate::samples::{self, Edits};

/// A rule where it stands.
struct Rule {
    at: String,
    /// JSON pointer of the list of rules in the schema.
    list: String,
    index: usize,
    message: String,
    text: String,
}

/// Rules that local evaluation cannot judge, by kind, place and message. They would be judged by a real API server only.
const NOT_JUDGED_LOCALLY: [&str; 0] = [];

fn rules(definition: &ResourceDefinition) -> Vec<Rule> {
    let mut found = Vec::new();
    collect(definition.schema(), "", "", &mut found);
    found
}

fn collect(schema: &Value, at: &str, pointer: &str, found: &mut Vec<Rule>) {
    let list = schema["x-kubernetes-validations"].as_array();
    for (index, rule) in list.into_iter().flatten().enumerate() {
        found.push(Rule {
            at: at.trim_start_matches('.').to_owned(),
            list: format!("{pointer}/x-kubernetes-validations"),
            index,
            message: rule["message"].as_str().unwrap_or_default().to_owned(),
            text: rule["rule"].as_str().unwrap().to_owned(),
        });
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let pointer = format!("{pointer}/properties/{name}");
        collect(inner, &format!("{at}.{name}"), &pointer, found);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(name) {
            collect(
                inner,
                &format!("{at}[]"),
                &format!("{pointer}/{name}"),
                found,
            );
        }
    }
}

fn definition_of(kind: &str) -> ResourceDefinition {
    let all = definition::all().unwrap();
    all.into_iter().find(|one| one.kind == kind).unwrap()
}

/// Messages of the rules that refuse the object.
fn refused_by(schema: &Value, object: &Value, before: Option<&Value>) -> Vec<String> {
    match Validator::new().validate_with_defaults(schema, object, before) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .as_slice()
            .iter()
            .map(|error| error.message.clone())
            .collect(),
    }
}

fn without(schema: &Value, rule: &Rule) -> Value {
    let mut schema = schema.clone();
    let list = schema.pointer_mut(&rule.list).unwrap();
    list.as_array_mut().unwrap().remove(rule.index);
    schema
}

/// The one rule that the case names.
fn rule_of(rules: &[Rule], case: &Case) -> usize {
    let is_named = |rule: &Rule| rule.at == case.at && rule.message.contains(&case.says);
    let matching: Vec<usize> = (0..rules.len())
        .filter(|&index| is_named(&rules[index]))
        .collect();
    match matching[..] {
        [one] => one,
        _ => panic!("{case:?} names {} rules", matching.len()),
    }
}

#[test]
fn each_case_is_refused_by_its_rule_and_by_nothing_else() {
    for case in cases() {
        let definition = definition_of(&case.kind);
        let schema = definition.schema();
        let rules = rules(&definition);
        let rule = &rules[rule_of(&rules, &case)];
        let object = samples::edited_by(&case.kind, &case.set);
        let before = case.update.then(|| samples::smallest(&case.kind));

        assert_eq!(openapi::problems(schema, &object), [""; 0], "{case:?}");
        let messages = refused_by(schema, &object, before.as_ref());
        assert!(!messages.is_empty(), "{case:?} is refused by nothing");
        assert!(
            messages.iter().all(|message| *message == rule.message),
            "{case:?} is refused by {messages:?}"
        );
        let left = refused_by(&without(schema, rule), &object, before.as_ref());
        assert_eq!(left, [""; 0], "{case:?} is refused without its rule");
    }
}

#[test]
fn every_rule_has_a_case_or_is_named_as_not_judged_here() {
    let cases = cases();
    let mut missing = Vec::new();
    for definition in definition::all().unwrap() {
        let rules = rules(&definition);
        let covered: Vec<usize> = cases
            .iter()
            .filter(|case| case.kind == definition.kind)
            .map(|case| rule_of(&rules, case))
            .collect();
        for (index, rule) in rules.iter().enumerate() {
            if !covered.contains(&index) {
                missing.push(format!("{} {} {}", definition.kind, rule.at, rule.message));
            }
        }
    }
    println!("not judged by local evaluation: {NOT_JUDGED_LOCALLY:?}");
    assert_eq!(missing, NOT_JUDGED_LOCALLY);
}

#[test]
fn every_rule_has_a_message_that_says_what_to_write() {
    for definition in definition::all().unwrap() {
        for rule in rules(&definition) {
            let named = format!("{} {} {}", definition.kind, rule.at, rule.text);
            assert!(rule.message.len() > 20, "{named} has no sentence");
            assert!(!rule.message.contains('\n'), "{named} has two lines");
            assert!(!rule.text.contains('\n'), "{named} has two lines");
        }
    }
}

#[test]
fn good_objects_are_taken_when_created_and_when_unchanged() {
    for object in samples::good() {
        let definition = definition_of(samples::kind(&object));
        let schema = definition.schema();
        assert_eq!(openapi::problems(schema, &object), [""; 0], "{object}");
        assert_eq!(refused_by(schema, &object, None), [""; 0], "{object}");
        let unchanged = refused_by(schema, &object, Some(&object));
        assert_eq!(unchanged, [""; 0], "{object}");
    }
}

#[test]
fn a_node_intent_that_grows_is_taken() {
    #[derive(Deserialize)]
    struct Growth {
        set: Edits,
    }
    let definition = definition_of("NodeIntent");
    let before = samples::smallest("NodeIntent");
    let text = include_str!("cases/growing.yaml");
    for growth in serde_saphyr::from_str::<Vec<Growth>>(text).unwrap() {
        let after = samples::edited_by("NodeIntent", &growth.set);
        let messages = refused_by(definition.schema(), &after, Some(&before));
        assert_eq!(messages, [""; 0], "{after}");
    }
}
