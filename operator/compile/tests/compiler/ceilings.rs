//! What tenants may ask for, namespace by namespace.

use postern_compile::intake;
use postern_compile::snapshot::{Ceiling, CompilerSettings, Permission};
use postern_crds::EgressPolicy;
use postern_crds::conditions::Reason;
use serde_json::json;

use super::changes::with_a_policy;

#[test]
fn what_the_ceiling_of_a_namespace_withholds_is_refused_there_and_nowhere_else() {
    let world = with_a_policy();
    type Withholding = fn(&mut Ceiling);
    let rows: [(&str, serde_json::Value, Withholding); 7] = [
        ("spec.lanAccess", json!({"lanAccess": "Allow"}), |one| {
            one.lan = Permission::Withheld;
        }),
        (
            "spec.specialUse.exceptions",
            json!({"specialUse": {"exceptions": ["169.254.169.254/32"]}}),
            |one| one.special_use = Permission::Withheld,
        ),
        (
            "spec.dns.upstreams",
            json!({"dns": {"upstreams": ["9.9.9.9"]}}),
            |one| one.upstreams = Permission::Withheld,
        ),
        (
            "spec.failureMode",
            json!({"failureMode": "Open", "failOpenAfter": "30s"}),
            |one| one.fail_open = Permission::Withheld,
        ),
        (
            "spec.route.type",
            json!({"route": {"type": "NodeUplink"}}),
            |one| one.node_uplink = Permission::Withheld,
        ),
        (
            "spec.enforcement",
            json!({"enforcement": "Observe"}),
            |one| one.observe = Permission::Withheld,
        ),
        ("spec.priority", json!({"priority": 8}), |one| {
            one.priority = 7;
        }),
    ];
    for (field, edit, withhold) in rows {
        let mut written = serde_json::to_value(&world.policies["red/p0"]).expect("JSON");
        for (key, value) in edit.as_object().expect("keys") {
            written["spec"][key] = value.clone();
        }
        let mut policy: EgressPolicy = serde_json::from_value(written).expect("an EgressPolicy");
        let mut settings = CompilerSettings::default();
        let mut ceiling = Ceiling::default();
        withhold(&mut ceiling);
        settings
            .ceilings
            .insert("red".parse().expect("a namespace"), ceiling);
        let refusal = intake::policy(&policy, &settings).expect("a name").terms;
        let refusal = refusal.expect_err(field);
        assert_eq!(refusal.reason, Reason::NotPermitted, "{field}");
        assert!(refusal.message.starts_with(field), "{}", refusal.message);
        policy.metadata.namespace = Some("green".to_owned());
        let elsewhere = intake::policy(&policy, &settings).expect("a name").terms;
        assert!(elsewhere.is_ok(), "{field}: {elsewhere:?}");
    }
}
