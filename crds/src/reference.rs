//! The reference of the API, `docs/api.md`, made from the published schemas and the table of honoured fields.

use std::fmt::Write as _;

use serde_json::Value;

use crate::conditions::{ConditionType, Reason};
use crate::definition::ResourceDefinition;
use crate::honoured::{Honoured, covering};

const INTRODUCTION: &str = "\
# API reference

Group `postern.dev`, version `v1alpha1`. This page is generated from the schemas \
(`cargo run -p postern-crds --example write_yaml`); a test compares it.

What an object alone can decide, the API server refuses with the message given here. What needs other \
objects ends in a condition. **A field that is set and not honoured yet is refused by an admission policy, which is \
made from the same table as this page. Past admission it makes `Accepted=False, reason=NotImplemented`; the message \
names it, and what the object selects is blocked.** The same holds for a value that is not honoured yet, where the \
table says `only`. A field that the operator does not know at all, because the definitions are newer than it is, makes \
`Accepted=False, reason=UnknownField`.

A default is written into the object by the API server. Without one, the field stays absent and the text says what holds.
";

#[must_use]
pub fn markdown(definitions: &[ResourceDefinition]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for definition in definitions {
        kind(&mut page, definition);
    }
    words(&mut page);
    page
}

fn kind(page: &mut String, definition: &ResourceDefinition) {
    let object = &definition.object;
    let schema = definition.schema();
    let names = &object["spec"]["names"];
    let short = names["shortNames"][0]
        .as_str()
        .map_or_else(String::new, |name| format!(", short name `{name}`"));
    let scope = match object["spec"]["scope"].as_str() {
        Some("Namespaced") => "Namespaced",
        _ => "Cluster-scoped",
    };
    push(page, format_args!("\n## {}\n\n", definition.kind));
    push(
        page,
        format_args!("{} {scope}{short}.\n", text(schema, "description")),
    );
    columns(page, definition);
    let mut rows = Vec::new();
    collect(
        &schema["properties"]["spec"],
        "spec",
        FieldPresence::Required,
        &mut rows,
    );
    section(page, definition.kind, "spec", &rows);
    rows.clear();
    collect(
        &schema["properties"]["status"],
        "status",
        FieldPresence::Optional,
        &mut rows,
    );
    if rows.len() > 1 {
        section(page, definition.kind, "status", &rows);
    }
}

fn columns(page: &mut String, definition: &ResourceDefinition) {
    let names: Vec<String> = definition
        .columns()
        .iter()
        .map(|column| {
            let name = column["name"].as_str().unwrap_or_default();
            match column["priority"].as_i64() {
                Some(priority) if priority > 0 => format!("{name} (wide)"),
                _ => name.to_owned(),
            }
        })
        .collect();
    push(
        page,
        format_args!("\n`kubectl get` prints: {}.\n", names.join(", ")),
    );
}

/// Whether an object must carry a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldPresence {
    Required,
    Optional,
}

struct Row<'a> {
    path: String,
    schema: &'a Value,
    need: FieldPresence,
}

/// Fields whose insides Kubernetes itself defines and documents.
const FOREIGN: [&str; 5] = [
    "conditions",
    "podSelector",
    "nodeSelector",
    "gatewayNodeSelector",
    "selector",
];

fn collect<'a>(schema: &'a Value, path: &str, need: FieldPresence, rows: &mut Vec<Row<'a>>) {
    rows.push(Row {
        path: path.to_owned(),
        schema,
        need,
    });
    let last = path.rsplit('.').next().unwrap_or(path);
    if FOREIGN.contains(&last) {
        return;
    }
    let (inner, path) = match schema.get("items") {
        Some(items) => (items, format!("{path}[]")),
        None => (schema, path.to_owned()),
    };
    let required = inner["required"].as_array();
    for (name, property) in inner["properties"].as_object().into_iter().flatten() {
        let is_required = required.is_some_and(|list| list.iter().any(|one| one == name));
        let need = if is_required {
            FieldPresence::Required
        } else {
            FieldPresence::Optional
        };
        collect(property, &format!("{path}.{name}"), need, rows);
    }
}

fn section(page: &mut String, kind: &str, top: &str, rows: &[Row<'_>]) {
    push(page, format_args!("\n### {kind} {top}\n\n"));
    if let Some(whole) = covering(kind, top) {
        push(
            page,
            format_args!(
                "Not honoured yet, `NotImplemented`: {}.\n\n",
                whole.otherwise
            ),
        );
    }
    let is_judged = rows.iter().any(|row| covering(kind, &row.path).is_some());
    page.push_str(if is_judged {
        "| field | type | default | what it is | honoured | when it cannot be honoured |\n|---|---|---|---|---|---|\n"
    } else {
        "| field | type | default | what it is |\n|---|---|---|---|\n"
    });
    for row in rows.iter().skip(1) {
        let mut cells = vec![
            format!("`{}`", row.path),
            type_of(row.schema),
            default_of(row),
            text(row.schema, "description"),
        ];
        if is_judged {
            cells.extend(judge(kind, &row.path));
        }
        let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        push(page, format_args!("| {} |\n", cells.join(" | ")));
    }
    rules(page, rows);
}

/// Since when a field is honoured, and what happens when it cannot be.
fn judge(kind: &str, path: &str) -> [String; 2] {
    let Some(field) = covering(kind, path) else {
        return ["by field".to_owned(), String::new()];
    };
    let honoured = match field.honoured {
        Honoured::Since(release) => format!("since {release}"),
        Honoured::Only { since, values } => {
            format!("only {}, since {since}", code_list(values.iter().copied()))
        }
        Honoured::NotYet => "not yet".to_owned(),
    };
    // What a field above says is not repeated for each field below it.
    let is_own = field.path.trim_end_matches("[]") == path;
    let otherwise = match field.honoured {
        _ if !is_own => String::new(),
        Honoured::Since(_) => field.otherwise.to_owned(),
        Honoured::Only { .. } | Honoured::NotYet => {
            format!("`NotImplemented`: {}.", field.otherwise)
        }
    };
    [honoured, otherwise]
}

fn rules(page: &mut String, rows: &[Row<'_>]) {
    let mut lines = Vec::new();
    for row in rows {
        rules_of(row.schema, &row.path, &mut lines);
        if let Some(items) = row.schema.get("items") {
            rules_of(items, &format!("{}[]", row.path), &mut lines);
        }
    }
    if lines.is_empty() {
        return;
    }
    page.push_str("\nRefused by the API server:\n\n");
    for line in lines {
        push(page, format_args!("- {line}\n"));
    }
}

fn rules_of(schema: &Value, path: &str, lines: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        lines.push(format!(
            "`{path}`: {}. `{}`",
            rule["message"].as_str().unwrap_or_default(),
            rule["rule"].as_str().unwrap_or_default()
        ));
    }
}

fn type_of(schema: &Value) -> String {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return "number or string".to_owned();
    }
    if let Some(values) = schema["enum"].as_array() {
        return code_list(values.iter().filter_map(Value::as_str));
    }
    let bounds = bounds(schema);
    let name = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => {
            let items = type_of(&schema["items"]);
            return format!("list{bounds} of {items}");
        }
        (Some("string"), Some("date-time")) => "time",
        (Some(name), _) => name,
        (None, _) => "any",
    };
    format!("{name}{bounds}")
}

fn bounds(schema: &Value) -> String {
    let pairs = [
        ("minItems", "maxItems", ""),
        ("minLength", "maxLength", " characters"),
        ("minimum", "maximum", ""),
        ("minProperties", "maxProperties", ""),
    ];
    for (low, high, unit) in pairs {
        let (low, high) = (schema[low].as_i64(), schema[high].as_i64());
        match (low, high) {
            (Some(low), Some(high)) if low == high => return format!(" ({low}{unit})"),
            (Some(low), Some(high)) => return format!(" ({low} to {high}{unit})"),
            (None, Some(high)) => return format!(" (up to {high}{unit})"),
            (Some(low), None) if low > 0 => return format!(" (from {low}{unit})"),
            _ => {}
        }
    }
    String::new()
}

fn default_of(row: &Row<'_>) -> String {
    match (row.schema.get("default"), row.need) {
        (Some(default), _) => format!("`{default}`"),
        (None, FieldPresence::Required) => "required".to_owned(),
        (None, FieldPresence::Optional) => "absent".to_owned(),
    }
}

fn words(page: &mut String) {
    page.push_str("\n## Conditions\n\n`metav1.Condition`, each with its own `observedGeneration`.\n\n| type | meaning |\n|---|---|\n");
    for word in ConditionType::ALL {
        push(page, format_args!("| `{word}` | {} |\n", word.sentence()));
    }
    page.push_str("\n## Reasons\n\n| reason | meaning |\n|---|---|\n");
    for word in Reason::ALL {
        push(page, format_args!("| `{word}` | {} |\n", word.sentence()));
    }
}

fn code_list<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = values.map(|value| format!("`{value}`")).collect();
    quoted.join(", ")
}

fn text(schema: &Value, name: &str) -> String {
    schema[name].as_str().unwrap_or_default().to_owned()
}

/// A pipe ends a cell, also inside code, unless it is escaped.
fn escape(cell: &str) -> String {
    cell.replace('|', "\\|")
}

fn push(page: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(line);
}
