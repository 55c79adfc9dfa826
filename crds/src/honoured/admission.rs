//! The admission check for fields that are not honoured, made from the table: what the compiler refuses later, the API
//! server refuses at once.
//!
//! It is an admission policy and not a rule of the schema: the schema says what the API is, and the table what this
//! version does of it. A policy belongs to the version that is installed, as the operator does.

use serde_json::{Value, json};

use super::table::{FIELDS, Honoured, HonouredField};

/// One admission policy with its binding for each kind that has a field which is not honoured everywhere.
#[must_use]
pub fn admission_policies() -> Vec<Value> {
    let kinds = [
        ("ExitNode", "exitnodes"),
        ("EgressPolicy", "egresspolicies"),
        ("ClusterEgressPolicy", "clusteregresspolicies"),
        ("InterfaceIsolation", "interfaceisolations"),
    ];
    let of = |(kind, plural): (&str, &str)| {
        let fields = FIELDS.iter().filter(|field| field.kind == kind);
        let validations: Vec<Value> = fields.filter_map(validation).collect();
        (!validations.is_empty()).then(|| pair(plural, &validations))
    };
    kinds.into_iter().filter_map(of).flatten().collect()
}

fn pair(plural: &str, validations: &[Value]) -> [Value; 2] {
    let name = format!("postern-honoured-{plural}");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [crate::names::GROUP],
                "apiVersions": [crate::names::VERSION],
                "operations": ["CREATE", "UPDATE"],
                "resources": [plural],
                // As the API server fills it in: kubectl would see a difference at each apply.
                "scope": "*",
            }]},
            // An object from before this version keeps what it says until somebody changes its spec, so that a
            // controller can still remove a finalizer; the compiler refuses it meanwhile.
            "matchConditions": [{
                "name": "spec-is-new",
                "expression": "oldObject == null || object.spec != oldObject.spec",
            }],
            "validations": validations,
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny", "Audit"]},
    });
    [policy, binding]
}

fn validation(field: &HonouredField) -> Option<Value> {
    if matches!(field.honoured, Honoured::Since(_)) {
        return None;
    }
    let steps: Vec<&str> = field.path.split('.').collect();
    Some(json!({
        "expression": holds(field.honoured, "object", &steps),
        "reason": "Invalid",
        "message": field.refusal(),
    }))
}

/// An expression that is true unless the field is set to what is not honoured.
fn holds(honoured: Honoured, at: &str, steps: &[&str]) -> String {
    let Some((first, rest)) = steps.split_first() else {
        return match honoured {
            Honoured::Since(_) => "true".to_owned(),
            Honoured::Only { values, .. } => {
                let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
                format!("{at} in [{}]", quoted.join(", "))
            }
            Honoured::NotYet => "false".to_owned(),
        };
    };
    let (name, is_list) = match first.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (*first, false),
    };
    let here = format!("{at}.{name}");
    if is_list {
        // Each level has a name of its own: an inner one would hide the outer.
        let item = format!("item{}", steps.len());
        let inner = holds(honoured, &item, rest);
        return format!("(!has({here}) || {here}.all({item}, {inner}))");
    }
    if rest.is_empty() && honoured == Honoured::NotYet {
        return format!("!has({here})");
    }
    format!("(!has({here}) || {})", holds(honoured, &here, rest))
}
