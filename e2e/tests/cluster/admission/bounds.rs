//! Every bound of the schemas on a real API server: the objects are made from the schemas, so that none is forgotten.

use serde_json::{Value, json};

use crate::admission::cluster::cluster;
use crate::admission::definitions::{self, BOUNDS, USERS_KINDS, each};
use crate::samples;

/// A bound with its place, and the message of the API server for a value that breaks it.
struct Bound {
    kind: &'static str,
    /// As in `.spec.rules[].to[].cidr`; for `required` the missing field itself.
    at: String,
    keyword: &'static str,
    /// The schema that has the keyword.
    schema: Value,
}

/// Steps of a place.
#[derive(Clone)]
enum Step {
    Field(String),
    Item,
    Entry,
}

/// A key for maps that have no entry.
const KEY: &str = "key";

fn bounds(kind: &'static str, schema: &Value) -> Vec<Bound> {
    let mut found = Vec::new();
    each(
        &schema["properties"]["spec"],
        ".spec",
        "",
        &mut |at, _, one| {
            for keyword in BOUNDS {
                let Some(value) = one.get(keyword) else {
                    continue;
                };
                let bound = |at: String| Bound {
                    kind,
                    at,
                    keyword,
                    schema: one.clone(),
                };
                match keyword {
                    // Numbers have formats too; theirs are wider than the bounds beside them.
                    "format" if *value != json!("date-time") => {}
                    "required" => {
                        let names = value.as_array().unwrap().iter();
                        found.extend(
                            names.map(|name| bound(format!("{at}.{}", name.as_str().unwrap()))),
                        );
                    }
                    _ => found.push(bound(at.to_owned())),
                }
            }
        },
    );
    found
}

fn steps(at: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in at.trim_start_matches('.').split('.') {
        let end = part.find(['[', '{']).unwrap_or(part.len());
        steps.push(Step::Field(part[..end].to_owned()));
        let marks = part.as_bytes()[end..].chunks(2);
        steps.extend(marks.map(|mark| {
            if mark == b"[]" {
                Step::Item
            } else {
                Step::Entry
            }
        }));
    }
    steps
}

/// A value of the right type, and no more than that.
fn smallest(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(first) = schema.pointer("/enum/0") {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten();
            let fields = required.map(|name| {
                let name = name.as_str().unwrap();
                (name.to_owned(), smallest(&schema["properties"][name]))
            });
            fields.collect()
        }
        Some("array") => {
            let length = schema["minItems"].as_u64().unwrap_or(0);
            (0..length).map(|_| smallest(&schema["items"])).collect()
        }
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        _ => json!("a"),
    }
}

/// The value at the place, made on the way where it is missing; and the place in words of an API server.
fn reach<'a>(object: &'a mut Value, schema: &Value, steps: &[Step]) -> (&'a mut Value, String) {
    let (mut value, mut schema, mut place) = (object, schema, String::new());
    for step in steps {
        match step {
            Step::Field(name) => {
                schema = &schema["properties"][name];
                place = format!("{place}.{name}");
                let fields = value.as_object_mut().unwrap();
                value = fields.entry(name).or_insert_with(|| smallest(schema));
            }
            Step::Item => {
                schema = &schema["items"];
                place.push_str("[0]");
                let items = value.as_array_mut().unwrap();
                if items.is_empty() {
                    items.push(smallest(schema));
                }
                value = &mut items[0];
            }
            Step::Entry => {
                schema = &schema["additionalProperties"];
                let entries = value.as_object_mut().unwrap();
                let key = entries.keys().next().map_or(KEY.to_owned(), Clone::clone);
                place = format!("{place}.{key}");
                value = entries.entry(key).or_insert_with(|| smallest(schema));
            }
        }
    }
    (value, place.trim_start_matches('.').to_owned())
}

impl Bound {
    /// An object that breaks this bound, the place, and the message of the API server.
    fn broken(&self, schema: &Value) -> (Value, String, &'static str) {
        let mut object = self.nearest();
        let mut steps = steps(&self.at);
        let missing = (self.keyword == "required").then(|| steps.pop()).flatten();
        let (value, place) = reach(&mut object, schema, &steps);
        if let Some(Step::Field(name)) = missing {
            value.as_object_mut().unwrap().remove(&name);
            return (object, format!("{place}.{name}"), "Required value");
        }
        let (wrong, says) = self.wrong(value);
        *value = wrong;
        (object, place, says)
    }

    /// Of the right objects of the kind the one that reaches farthest towards the place: unions have several.
    fn nearest(&self) -> Value {
        let fields = self.at.trim_start_matches('.').split(['.', '[', '{']);
        let fields: Vec<&str> = fields.filter(|name| !matches!(*name, "]" | "}")).collect();
        let reached = |object: &Value| {
            let mut value = object;
            let steps = fields.iter().take_while(|name| {
                while let Some(first) = value.get(0) {
                    value = first;
                }
                value = value.get(**name).unwrap_or(&Value::Null);
                !value.is_null()
            });
            steps.count()
        };
        let good = samples::good().into_iter();
        let of_kind = good.filter(|object| samples::kind(object) == self.kind);
        of_kind.max_by_key(reached).unwrap()
    }

    fn number(&self) -> i64 {
        self.schema[self.keyword].as_i64().unwrap()
    }

    fn wrong(&self, right: &Value) -> (Value, &'static str) {
        let many = |count: i64| usize::try_from(count).unwrap();
        match self.keyword {
            "enum" => (json!("Neither"), "Unsupported value"),
            "format" => (json!("tomorrow"), "must be of type date-time"),
            "pattern" => {
                // As long as it has to be: a shorter one is refused for that alone.
                let length = self.schema["minLength"].as_i64().unwrap_or(1);
                (json!("\u{1}".repeat(many(length))), "should match")
            }
            "minLength" => (json!("a".repeat(many(self.number() - 1))), "chars long"),
            "maxLength" => (json!("a".repeat(many(self.number() + 1))), "Too long"),
            "minimum" => (json!(self.number() - 1), "greater than or equal to"),
            "maximum" => (json!(self.number() + 1), "less than or equal to"),
            "minItems" => {
                let items: Value = (1..self.number()).map(|_| self.item(right)).collect();
                (items, "should have at least")
            }
            "maxItems" => {
                let items: Value = (0..=self.number()).map(|_| self.item(right)).collect();
                (items, "Too many")
            }
            "maxProperties" => {
                let entry = || smallest(&self.schema["additionalProperties"]);
                let entries = (0..=self.number()).map(|number| (format!("key{number}"), entry()));
                (entries.collect(), "Too many")
            }
            other => panic!("nobody has said how {other} is broken"),
        }
    }

    fn item(&self, right: &Value) -> Value {
        let first = right.get(0).cloned();
        first.unwrap_or_else(|| smallest(&self.schema["items"]))
    }
}

/// The fewest bounds that a kind of the users has; the smallest one has 43. A walk that finds fewer has lost its way.
const LEAST: usize = 40;

/// Every bound of a kind of the users, and there are enough of them.
fn bounds_of(kind: &'static str, schema: &Value) -> Vec<Bound> {
    let found = bounds(kind, schema);
    assert!(found.len() >= LEAST, "{kind} has only {}", found.len());
    found
}

#[test]
fn each_bound_refuses_a_value_beyond_it_and_names_the_field() {
    let cluster = cluster();
    let definitions = definitions::all();
    let mut wrong = Vec::new();
    for kind in USERS_KINDS {
        let definition = &definitions[kind];
        let collection = definition.collection("postern.dev");
        for bound in bounds_of(kind, definition.schema()) {
            let (object, place, says) = bound.broken(definition.schema());
            let answer = cluster.tried(&collection, &object);
            let told = answer
                .as_ref()
                .is_err_and(|message| message.contains(&place) && message.contains(says));
            if !told {
                wrong.push(format!("{kind} {} {place}: {answer:?}", bound.keyword));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn without_bounds_each_of_these_objects_is_let_in() {
    let cluster = cluster();
    let definitions = definitions::all();
    let group = "boundless.test";
    let mut wrong = Vec::new();
    for kind in USERS_KINDS {
        let definition = &definitions[kind];
        let copy = definition.in_group(group).boundless();
        copy.register(&cluster);
        copy.await_served(&cluster, group);
        let collection = copy.collection(group);
        for bound in bounds_of(kind, definition.schema()) {
            let (mut object, place, _) = bound.broken(definition.schema());
            object["apiVersion"] = json!(format!("{group}/v1alpha1"));
            if let Err(message) = cluster.tried(&collection, &object) {
                wrong.push(format!("{kind} {} {place}: {message}", bound.keyword));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
