//! Objects that are right, from which the wrong ones are made by one edit.

use serde_json::{Value, json};

/// What an edit writes at a place, or that it removes it.
pub(crate) type Edit = (&'static str, Value);

/// The smallest right object of a kind.
pub(crate) fn smallest(kind: &str) -> Value {
    let spec = match kind {
        "ExitNode" => {
            json!({"gateway": {"nodeSelector": {"matchLabels": {"postern.dev/exit": "eu"}}}})
        }
        "EgressPolicy" => json!({
            "podSelector": {"matchLabels": {"app": "crawler"}},
            "route": {"type": "Exit", "exitNodes": [{"name": "eu"}]},
            "defaultAction": "Deny"
        }),
        "InterfaceIsolation" => json!({
            "nodeSelector": {"matchLabels": {"kind": "laptop"}},
            "preferred": ["eth0", "wlan*"]
        }),
        "NodeIntent" => json!({
            "nodeUID": "7a1c",
            "serial": 10,
            "notAfter": "2027-01-01T00:00:00Z",
            "envelope": envelope("aW50ZW50"),
            "keySet": {"version": 3, "envelope": envelope("a2V5cw==")}
        }),
        "NodeReport" => json!({"nodeUID": "7a1c"}),
        other => panic!("no kind {other}"),
    };
    let mut metadata = json!({"name": "it"});
    if kind == "EgressPolicy" {
        metadata["namespace"] = json!("shop");
    }
    json!({"apiVersion": "postern.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn envelope(payload: &str) -> Value {
    json!({
        "payloadType": "application/vnd.postern.dev.intent.v1+json+gzip",
        "payload": payload,
        "signatures": [{"keyid": "one", "sig": "c2ln"}]
    })
}

/// The object with each place of `edits` written; a null removes it.
pub(crate) fn edited(mut object: Value, edits: &[Edit]) -> Value {
    for (pointer, value) in edits {
        let (parents, last) = pointer.rsplit_once('/').unwrap();
        let mut place = &mut object;
        for step in parents.split('/').skip(1) {
            place = match place {
                Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
                other => &mut other[step],
            };
        }
        match place {
            Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(map) if value.is_null() => {
                map.remove(last).unwrap();
            }
            other => other[last] = value.clone(),
        }
    }
    object
}

/// Right objects that use what the kinds offer.
pub(crate) fn good() -> Vec<(&'static str, Value)> {
    let edits: Vec<(&'static str, Vec<Edit>)> = vec![
        ("ExitNode", vec![]),
        ("ExitNode", full_gateway()),
        ("ExitNode", full_external()),
        ("EgressPolicy", vec![]),
        ("EgressPolicy", full_policy()),
        ("EgressPolicy", open_policy()),
        (
            "EgressPolicy",
            vec![
                ("/spec/route", json!({"type": "NodeUplink"})),
                ("/spec/defaultAction", json!("Allow")),
                ("/spec/inbound", json!({"replies": "None"})),
                ("/spec/dns", json!({"mode": "Block"})),
            ],
        ),
        (
            "EgressPolicy",
            vec![(
                "/spec/podSelector",
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}, {"key": "x/y", "operator": "Exists"}]}),
            )],
        ),
        ("InterfaceIsolation", vec![]),
        (
            "InterfaceIsolation",
            vec![
                ("/spec/domain", json!({"exclude": ["cni*", "veth*"]})),
                (
                    "/spec/exception",
                    json!({"accessPoint": "wlan1", "upstream": "wlan0", "notAfter": "2027-01-01T00:00:00Z"}),
                ),
                ("/spec/level", json!("Reachable")),
                ("/spec/rfkill", json!("Ignore")),
                ("/spec/confirm", json!({"within": "1m30s"})),
                ("/spec/remoteSafety", json!("Override")),
            ],
        ),
        ("NodeIntent", vec![]),
        ("NodeIntent", vec![("/spec", json!({"nodeUID": "7a1c"}))]),
        ("NodeReport", vec![]),
        ("NodeReport", full_report()),
    ];
    edits
        .into_iter()
        .map(|(kind, edits)| (kind, edited(smallest(kind), &edits)))
        .collect()
}

fn full_gateway() -> Vec<Edit> {
    vec![
        (
            "/spec/gateway/egressIPs",
            json!(["203.0.113.10", "2001:db8::10"]),
        ),
        ("/spec/gateway/interface", json!("eth0")),
        (
            "/spec/routes",
            json!(["0.0.0.0/0", "2000::/3", "198.51.100.7/32"]),
        ),
        ("/spec/lanAccess", json!("Allow")),
        ("/spec/mtu", json!(1420)),
        ("/spec/paths", json!(["Direct", "FakeTCP", "Relay"])),
        ("/spec/relay", json!({"nodeSelector": {}})),
        (
            "/spec/probe",
            json!({"targets": [{"tcp": "198.51.100.1:443"}, {"tcp": "[2001:db8::1]:443"}]}),
        ),
        ("/spec/failback", json!("Automatic")),
        (
            "/spec/allowedNamespaces",
            json!({"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}),
        ),
    ]
}

fn full_external() -> Vec<Edit> {
    vec![
        ("/spec/gateway", Value::Null),
        (
            "/spec/external",
            json!({
                "endpoint": "vpn.example.net:51820",
                "publicKey": "PsoEGrjXnINZRq8Ar54qPdvpwmtXiGxUmhaOqyPCbDE=",
                "addresses": ["10.64.0.2/32", "fc00:bbbb::2/128"],
                "credentialsSecretRef": {"name": "vpn"},
                "gatewayNodeSelector": {"matchLabels": {"postern.dev/exit": "eu"}}
            }),
        ),
    ]
}

fn full_policy() -> Vec<Edit> {
    vec![
        ("/spec/priority", json!(100)),
        (
            "/spec/rules",
            json!([
                {
                    "name": "apis",
                    "action": "Allow",
                    "to": [{"fqdn": "*.example.org"}, {"cidr": "198.51.100.0/24"}],
                    "ports": [{"protocol": "TCP", "port": 443, "endPort": 445}, {"protocol": "SCTP"}, {"protocol": "ICMP"}]
                },
                {"action": "Deny", "to": [{"cidr": "::/0"}]}
            ]),
        ),
        (
            "/spec/dns",
            json!({"mode": "Filter", "upstreams": ["9.9.9.9", "2620:fe::fe"], "refusal": "REFUSED"}),
        ),
        ("/spec/lanAccess", json!("Allow")),
        (
            "/spec/specialUse",
            json!({"exceptions": ["169.254.169.254/32"]}),
        ),
        (
            "/spec/limits",
            json!({
                "connections": 1000,
                "newConnectionsPerSecond": 100,
                "packetsPerSecond": 20000,
                "bytesPerSecond": "10Mi"
            }),
        ),
        ("/spec/establishedFlows", json!("Keep")),
        ("/spec/audit", json!({"log": "Denied"})),
        ("/spec/enforcement", json!("Observe")),
    ]
}

fn open_policy() -> Vec<Edit> {
    vec![
        ("/spec/failureMode", json!("Open")),
        ("/spec/failOpenAfter", json!("1m30s")),
        ("/spec/limits", json!({"bytesPerSecond": 1_048_576})),
    ]
}

fn full_report() -> Vec<Edit> {
    let time = "2026-11-23T04:00:00.123456Z";
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    vec![(
        "/status",
        json!({
            "conditions": [{
                "type": "FailClosed", "status": "True", "reason": "Sealed", "message": "",
                "lastTransitionTime": "2026-11-23T04:00:00Z"
            }],
            "agentVersion": "0.1.0",
            "appliedSerial": 10,
            "appliedDigest": digest,
            "verifiedAt": time,
            "ledgerSerial": 10,
            "keySetVersion": 3,
            "trustedKeyIds": ["one"],
            "released": false,
            "guardedNamespaces": ["shop"],
            "appliedPods": {"count": 3, "digest": digest},
            "scopes": [{
                "id": "shop/crawler@eu",
                "posture": "TunnelOnly",
                "state": "Enforcing",
                "policy": {"namespace": "shop", "name": "crawler", "uid": "9f", "generation": 4},
                "exit": "eu",
                "pods": {"enforced": 3}
            }],
            "exits": [{"exit": "eu", "lastHandshake": time, "healthy": true}],
            "mismatches": [{"object": "route table 7101 default", "difference": "Missing", "at": time}],
            "refusals": [{"reason": "Replayed", "serial": 9, "digest": digest, "at": time, "message": "serial 9 is below 10"}],
            "counters": {"repairs": 1},
            "capabilities": {"kernel": "6.18.0", "nftables": true, "tunnels": "Userspace", "secondLock": true},
            "publicKeys": {"wireguard": "PsoEGrjXnINZRq8Ar54qPdvpwmtXiGxUmhaOqyPCbDE="}
        }),
    )]
}
