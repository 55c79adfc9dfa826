//! Every CEL rule has an object that this rule alone refuses.
//!
//! The rules are collected from the published schemas, so that a rule without a case is found; each
//! case is judged twice, with its rule and without it, so that a case that another rule decides, or
//! that nothing decides, is found as well.

mod cases_exit;
mod cases_node;
mod cases_policy;

use kube::core::cel::Validator;
use postern_crds::definition::{self, Definition};
use serde_json::Value;

use crate::openapi;
use crate::samples::{self, Edit};

/// A wrong object and the rule that refuses it.
pub(crate) struct Case {
    /// Kind of the object.
    pub(crate) kind: &'static str,
    /// Where the rule stands, as in `spec.rules[].to[]`.
    pub(crate) at: &'static str,
    /// A part of the rule's message that no other rule at this place has.
    pub(crate) says: &'static str,
    /// What makes the smallest right object wrong.
    pub(crate) edits: Vec<Edit>,
    /// What makes the smallest right object the one before the update; without it, the object is created.
    pub(crate) before: Option<Vec<Edit>>,
}

/// A rule where it stands.
struct Rule {
    kind: &'static str,
    at: String,
    /// JSON pointer of the list of rules in the schema.
    list: String,
    index: usize,
    message: String,
    text: String,
}

/// Rules that local evaluation cannot judge: none, and the test says so when that changes.
const NOT_JUDGED_LOCALLY: [&str; 0] = [];

fn cases() -> Vec<Case> {
    let mut all = cases_exit::cases();
    all.extend(cases_policy::cases());
    all.extend(cases_node::cases());
    all
}

fn rules(definition: &Definition) -> Vec<Rule> {
    let mut found = Vec::new();
    collect(definition, definition.schema(), "", "", &mut found);
    found
}

fn collect(
    definition: &Definition,
    schema: &Value,
    at: &str,
    pointer: &str,
    found: &mut Vec<Rule>,
) {
    let list = schema["x-kubernetes-validations"].as_array();
    for (index, rule) in list.into_iter().flatten().enumerate() {
        found.push(Rule {
            kind: definition.kind,
            at: at.to_owned(),
            list: format!("{pointer}/x-kubernetes-validations"),
            index,
            message: rule["message"].as_str().unwrap_or_default().to_owned(),
            text: rule["rule"].as_str().unwrap().to_owned(),
        });
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let at = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        collect(
            definition,
            inner,
            &at,
            &format!("{pointer}/properties/{name}"),
            found,
        );
    }
    if let Some(items) = schema.get("items") {
        collect(
            definition,
            items,
            &format!("{at}[]"),
            &format!("{pointer}/items"),
            found,
        );
    }
    if let Some(inner) = schema.get("additionalProperties") {
        collect(
            definition,
            inner,
            &format!("{at}{{}}"),
            &format!("{pointer}/additionalProperties"),
            found,
        );
    }
}

fn definition_of(kind: &str) -> Definition {
    let all = definition::all().unwrap();
    all.into_iter().find(|one| one.kind == kind).unwrap()
}

/// Messages of the rules that refuse the object.
fn refused_by(schema: &Value, object: &Value, before: Option<&Value>) -> Vec<String> {
    match Validator::new().validate_with_defaults(schema, object, before) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
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

fn rule_of(rules: &[Rule], case: &Case) -> usize {
    let matching: Vec<usize> = (0..rules.len())
        .filter(|&index| rules[index].at == case.at && rules[index].message.contains(case.says))
        .collect();
    match matching[..] {
        [one] => one,
        _ => panic!(
            "{} {} {:?} names {} rules",
            case.kind,
            case.at,
            case.says,
            matching.len()
        ),
    }
}

#[test]
fn each_case_is_refused_by_its_rule_and_by_nothing_else() {
    for case in cases() {
        let definition = definition_of(case.kind);
        let rules = rules(&definition);
        let rule = &rules[rule_of(&rules, &case)];
        let object = samples::edited(samples::smallest(case.kind), &case.edits);
        let before = case
            .before
            .as_ref()
            .map(|edits| samples::edited(samples::smallest(case.kind), edits));
        let named = format!("{} {} {:?}", case.kind, case.at, case.says);

        assert_eq!(
            openapi::problems(definition.schema(), &object),
            [""; 0],
            "{named}"
        );
        let messages = refused_by(definition.schema(), &object, before.as_ref());
        assert!(!messages.is_empty(), "{named} refuses nothing: {object}");
        for message in messages {
            assert_eq!(message, rule.message, "{named}");
        }
        let without = without(definition.schema(), rule);
        let left = refused_by(&without, &object, before.as_ref());
        assert_eq!(left, [""; 0], "{named} is refused without the rule as well");
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
        missing.extend(
            (0..rules.len())
                .filter(|index| !covered.contains(index))
                .map(|index| {
                    format!(
                        "{} {}: {}",
                        rules[index].kind, rules[index].at, rules[index].message
                    )
                }),
        );
    }
    println!("not judged by local evaluation: {NOT_JUDGED_LOCALLY:?}");
    assert_eq!(missing, NOT_JUDGED_LOCALLY);
}

#[test]
fn every_rule_has_a_message_that_says_what_to_write() {
    for definition in definition::all().unwrap() {
        for rule in rules(&definition) {
            let named = format!("{} {} {}", rule.kind, rule.at, rule.text);
            assert!(rule.message.len() > 20, "{named} has no sentence");
            assert!(
                !rule.message.contains('\n'),
                "{named} has more than one line"
            );
            assert!(!rule.text.contains('\n'), "{named} has more than one line");
        }
    }
}

#[test]
fn good_objects_are_taken() {
    for (kind, object) in samples::good() {
        let definition = definition_of(kind);
        assert_eq!(
            openapi::problems(definition.schema(), &object),
            [""; 0],
            "{object}"
        );
        assert_eq!(
            refused_by(definition.schema(), &object, None),
            [""; 0],
            "{object}"
        );
        let unchanged = refused_by(definition.schema(), &object, Some(&object));
        assert_eq!(unchanged, [""; 0], "{object}");
    }
}

#[test]
fn a_node_intent_that_grows_is_taken() {
    let definition = definition_of("NodeIntent");
    let before = samples::smallest("NodeIntent");
    for edits in cases_node::growing_intents() {
        let after = samples::edited(before.clone(), &edits);
        let messages = refused_by(definition.schema(), &after, Some(&before));
        assert_eq!(messages, [""; 0], "{after}");
    }
}
