//! Files of wg-quick of real form, with keys that were made for these cases.

use posternctl::schema::judge;
use posternctl::wireguard_conf::{ConfError, ImportNames, ImportedExit, import};
use serde_json::{Value, json};

fn imported(text: &str) -> Result<ImportedExit, ConfError> {
    let names = ImportNames {
        exit: "vpn".to_owned(),
        gateway_labels: [("postern.dev/exit".to_owned(), "vpn".to_owned())].into(),
    };
    import(text, &names)
}

/// The exit's spec, the Secret's keys, and the settings that are not honoured, without the reasons.
fn parts(text: &str) -> (Value, Value, Vec<String>) {
    let found = imported(text).expect("an exit");
    judge(&found.exit).expect("an exit that the definition takes");
    let settings = found.not_honoured.iter();
    let settings = settings.map(|note| note.split(':').next().expect("a setting").to_owned());
    let mut spec = found.exit["spec"].clone();
    let external = spec["external"].take();
    let further = spec.as_object_mut().expect("a spec");
    further.remove("external");
    let mut flat = external.as_object().expect("a server").clone();
    flat.remove("credentialsSecretRef");
    flat.remove("gatewayNodeSelector");
    flat.extend(further.clone());
    (
        Value::Object(flat),
        found.secret["stringData"].clone(),
        settings.collect(),
    )
}

#[test]
fn a_file_of_mullvad_loses_its_resolver_alone() {
    let (spec, keys, lost) = parts(include_str!("conf/mullvad.conf"));
    assert_eq!(
        spec,
        json!({
            "endpoint": "192.0.2.66:51820",
            "publicKey": "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=",
            "addresses": ["10.64.13.37/32", "fc00:bbbb:bbbb:bb01::1:d24/128"],
        })
    );
    assert_eq!(
        keys,
        json!({"privateKey": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="})
    );
    assert_eq!(lost, ["[Interface] DNS"]);
}

#[test]
fn a_file_of_proton_with_comments_loses_its_resolvers_and_its_keepalive() {
    let (spec, _, lost) = parts(include_str!("conf/proton.conf"));
    assert_eq!(
        spec["addresses"],
        json!(["10.2.0.2/32", "2a07:b944::2:2/128"])
    );
    assert_eq!(lost, ["[Interface] DNS", "[Peer] PersistentKeepalive"]);
}

#[test]
fn a_plain_file_with_odd_spacing_keeps_its_routes_and_each_command_is_named() {
    let (spec, keys, lost) = parts(include_str!("conf/plain.conf"));
    assert_eq!(spec["addresses"], json!(["10.99.0.2/32", "fd00:99::2/64"]));
    assert_eq!(
        spec["routes"],
        json!(["198.51.100.0/24", "2001:db8:7::/48"])
    );
    assert_eq!(spec["mtu"], 1380);
    assert_eq!(
        keys["presharedKey"],
        "U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1M="
    );
    let named = [
        "ListenPort",
        "FwMark",
        "Table",
        "PreUp",
        "PostUp",
        "PreDown",
        "PostDown",
        "SaveConfig",
    ];
    assert_eq!(lost, named.map(|name| format!("[Interface] {name}")));
}

#[test]
fn of_several_peers_the_first_is_the_server_and_each_other_one_is_named() {
    let (spec, _, lost) = parts(include_str!("conf/peers.conf"));
    assert_eq!(spec["endpoint"], "[2001:db8::5]:443");
    assert_eq!(spec["routes"], json!(["0.0.0.0/0"]));
    assert_eq!(spec["mtu"], Value::Null);
    let named = ["[Peer] 2 with the endpoint 192.0.2.70", "[Interface] MTU"];
    assert_eq!(lost, named);
}

#[test]
fn a_file_of_windows_with_repeated_settings_is_read_whole() {
    let (spec, _, lost) = parts(include_str!("conf/windows.conf"));
    assert_eq!(
        spec["addresses"],
        json!(["172.16.0.2/32", "2606:4700:110:8a36::2/128"])
    );
    assert_eq!(
        (&spec["mtu"], &spec["routes"]),
        (&json!(1280), &Value::Null)
    );
    assert_eq!(lost, ["[Interface] DNS", "[Interface] Jc"]);
}

#[test]
fn what_no_exit_can_be_without_is_named_and_no_key_is_repeated() {
    let whole = include_str!("conf/mullvad.conf");
    let refused = |text: String| imported(&text).expect_err("a refusal").to_string();
    for setting in ["PrivateKey", "Address", "PublicKey", "Endpoint"] {
        let without: Vec<&str> = whole
            .lines()
            .filter(|line| !line.starts_with(setting))
            .collect();
        let message = refused(without.join("\n"));
        assert!(message.contains(setting), "{setting}: {message}");
    }
    let key = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
    let short = refused(whole.replace(key, "QUFB"));
    assert!(
        short.contains("PrivateKey") && !short.contains("QUFB"),
        "{short}"
    );
    let torn = refused(whole.replace("PrivateKey = ", "PrivateKey "));
    assert!(
        torn.contains("line 3") || torn.contains("PrivateKey"),
        "{torn}"
    );
    assert!(!torn.contains(key), "{torn}");
}
