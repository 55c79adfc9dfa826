//! Every CEL rule on a real API server: with it the object is refused in its words, without it the object is let in.

use postern_crds::honoured::FIELDS;
use serde_json::{Value, json};

use crate::admission::caller::assert_refused;
use crate::admission::cluster::{Cluster, cluster};
use crate::admission::definitions::{self, Definition, Rule, USERS_KINDS};
use crate::case_files::{Case, cases, not_honoured};
use crate::samples;

impl Case {
    fn object(&self, group: &str) -> Value {
        in_group(samples::edited_by(&self.kind, &self.set), group)
    }

    fn is_of(&self, kind: &str, rule: &Rule) -> bool {
        self.kind == kind && self.at == rule.at && rule.message.contains(&self.says)
    }

    /// Is it about what is there already: an update, or a status, which an API server drops from a new object?
    fn changes(&self) -> bool {
        self.update || self.is_of_status()
    }

    fn is_of_status(&self) -> bool {
        self.set
            .keys()
            .any(|pointer| pointer.starts_with("/status"))
    }

    /// Asks for the object where the kind has this group; a change is asked of the smallest right one.
    fn try_in(
        &self,
        cluster: &Cluster,
        definition: &Definition,
        group: &str,
    ) -> Result<Value, String> {
        let collection = definition.collection(group);
        if !self.changes() {
            return cluster.tried(&collection, &self.object(group));
        }
        let path = format!("{collection}/it");
        if cluster.get(&path).is_none() {
            let before = in_group(samples::smallest(&self.kind), group);
            cluster.create(&collection, &before).unwrap();
        }
        let part = if self.is_of_status() { "/status" } else { "" };
        cluster.replaced(&path, part, &self.object(group))
    }
}

/// The definitions have 44 rules and some 70 objects that one of them refuses: a reader that finds far fewer has lost
/// its way.
fn assert_enough(rules: usize, tried: usize) {
    assert!(
        rules >= 40 && tried >= 60,
        "only {tried} objects of {rules} rules were tried"
    );
}

fn in_group(mut object: Value, group: &str) -> Value {
    object["apiVersion"] = json!(format!("{group}/v1alpha1"));
    object
}

impl Cluster {
    /// Whether the administrator could replace what is there; nothing is stored.
    fn replaced(&self, path: &str, part: &str, object: &Value) -> Result<Value, String> {
        let stored = self.get(path).unwrap();
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        let input = object.to_string();
        let way = format!("{path}{part}?dryRun=All");
        let mut command = self
            .lab()
            .kubectl(["replace", "--raw", &way, "-f", "-"])
            .unwrap();
        let output =
            postern_e2e::lab::sandbox::command::output(&mut command, Some(&input)).unwrap();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

#[test]
fn each_rule_refuses_its_object_in_its_own_words() {
    let cluster = cluster();
    let definitions = definitions::all();
    // What has to be there first is not made among the real ones: nobody is to find it there, and admission policies
    // would answer before the rules do.
    let whole = "whole.rules.test";
    let cases = cases();
    for (kind, definition) in &definitions {
        if cases
            .iter()
            .any(|case| case.kind == *kind && case.changes())
        {
            let copy = definition.in_group(whole);
            copy.register(&cluster);
            copy.await_served(&cluster, whole);
        }
    }
    let (mut rules, mut all) = (0, 0);
    for (kind, definition) in &definitions {
        for rule in definition.rules() {
            let mut tried = 0;
            for case in cases.iter().filter(|case| case.is_of(kind, &rule)) {
                tried += 1;
                let group = if case.changes() { whole } else { "postern.dev" };
                let answer = case.try_in(&cluster, definition, group);
                assert_refused(&answer, &rule.message);
            }
            assert!(tried > 0, "{kind} {} {} has no case", rule.at, rule.message);
            (rules, all) = (rules + 1, all + tried);
        }
    }
    assert_enough(rules, all);
}

#[test]
fn without_its_rule_each_of_these_objects_is_let_in() {
    let cluster = cluster();
    let definitions = definitions::all();
    let mut copies = Vec::new();
    for (kind, definition) in &definitions {
        for rule in definition.rules() {
            let group = format!("without-{}.rules.test", copies.len());
            let copy = definition.in_group(&group).without_rule(&rule);
            copy.register(&cluster);
            copies.push((kind, rule, group, copy));
        }
    }
    let cases = cases();
    let (rules, mut tried) = (copies.len(), 0);
    for (kind, rule, group, copy) in copies {
        copy.await_served(&cluster, &group);
        for case in cases.iter().filter(|case| case.is_of(kind, &rule)) {
            tried += 1;
            let answer = case.try_in(&cluster, &copy, &group);
            assert!(answer.is_ok(), "{case:?} without its rule: {answer:?}");
        }
    }
    assert_enough(rules, tried);
}

#[test]
fn good_objects_are_let_in_unless_this_version_does_not_honour_them() {
    let cluster = cluster();
    let definitions = definitions::all();
    let mut taken = 0;
    for object in samples::good() {
        let kind = samples::kind(&object);
        if !USERS_KINDS.contains(&kind) {
            continue;
        }
        let collection = definitions[kind].collection("postern.dev");
        match cluster.tried(&collection, &object) {
            Ok(_) => taken += 1,
            Err(message) => assert!(message.contains(NOT_HONOURED), "{object}: {message}"),
        }
    }
    assert!(taken >= 3, "only {taken} good objects were let in");
}

/// How a refusal of a field that is not honoured begins.
const NOT_HONOURED: &str = "not honoured by this version: ";

#[test]
fn a_field_that_is_not_honoured_is_refused_and_taken_where_only_its_check_is_away() {
    let cluster = cluster();
    let _turn = cluster.turn();
    let definitions = definitions::all();
    for case in not_honoured() {
        let collection = definitions[&case.kind].collection("postern.dev");
        let object = samples::edited_by(&case.kind, &case.set);
        let answer = cluster.tried(&collection, &object);
        let bare = |path: &str| path.replace(|letter: char| letter.is_ascii_digit(), "");
        let first = bare(&case.names[0]);
        let field = FIELDS
            .iter()
            .find(|field| field.kind == case.kind && field.path == first)
            .unwrap();
        assert_refused(&answer, &field.refusal());
    }
    let case = not_honoured().pop().unwrap();
    let collection = definitions[&case.kind].collection("postern.dev");
    let object = samples::edited_by(&case.kind, &case.set);
    let plural = collection.rsplit('/').next().unwrap();
    let unbound = cluster.without_binding(&format!("postern-honoured-{plural}"));
    cluster.eventually("without the binding the object is let in", || {
        cluster.tried(&collection, &object).is_ok()
    });
    unbound.back(|| cluster.tried(&collection, &object));
}

#[test]
fn a_field_that_nobody_knows_is_refused_by_name() {
    let cluster = cluster();
    let mut policy = samples::smallest("EgressPolicy");
    policy["spec"]["rulez"] = json!([]);
    let collection = definitions::all()["EgressPolicy"].collection("postern.dev");
    assert_refused(&cluster.tried(&collection, &policy), "spec.rulez");
}
