//! The edit of a network configuration list (CNI specification 1.1.0, section 1): text in, text out.

use std::path::Path;

use serde_json::{Value, json};

use super::error::ListError;
use crate::SpecVersion;

/// The type by which a runtime finds the program, and by which our entry is recognised.
pub(super) const TYPE: &str = "postern-cni";

/// The list with our entry, and only one, at its end; none when it is so already.
pub(super) fn with_entry(text: &[u8], socket: &Path) -> Result<Option<Vec<u8>>, ListError> {
    let before: Value = serde_json::from_slice(text).map_err(ListError::Decode)?;
    let version = before["cniVersion"].as_str().unwrap_or("0.1.0");
    version.parse::<SpecVersion>().map_err(ListError::Version)?;
    let mut after = before.clone();
    let plugins = others(&mut after).ok_or(ListError::NoPlugins)?;
    if plugins.is_empty() {
        return Err(ListError::NoPlugins);
    }
    plugins.push(json!({"type": TYPE, "socket": socket}));
    changed(&before, &after)
}

/// The list without our entry; none when it has none.
pub(super) fn without_entry(text: &[u8]) -> Result<Option<Vec<u8>>, ListError> {
    let before: Value = serde_json::from_slice(text).map_err(ListError::Decode)?;
    let mut after = before.clone();
    others(&mut after);
    changed(&before, &after)
}

/// Takes our entries out; what is left is everybody else's.
fn others(list: &mut Value) -> Option<&mut Vec<Value>> {
    let plugins = list.get_mut("plugins")?.as_array_mut()?;
    plugins.retain(|plugin| plugin["type"] != TYPE);
    Some(plugins)
}

fn changed(before: &Value, after: &Value) -> Result<Option<Vec<u8>>, ListError> {
    if before == after {
        return Ok(None);
    }
    let mut text = serde_json::to_vec_pretty(after).map_err(ListError::Encode)?;
    text.push(b'\n');
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: &str = "/run/postern/agent.sock";

    fn list(plugins: &Value) -> Vec<u8> {
        json!({"cniVersion": "1.0.0", "name": "cluster", "plugins": plugins})
            .to_string()
            .into_bytes()
    }

    fn types(text: &[u8]) -> Vec<String> {
        let list: Value = serde_json::from_slice(text).unwrap();
        let plugins = list["plugins"].as_array().unwrap();
        plugins
            .iter()
            .map(|one| one["type"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn our_entry_comes_behind_all_others_and_once() {
        let before = list(&json!([
            {"type": "postern-cni", "socket": "/old"}, {"type": "bridge", "mtu": 1400}, {"type": "portmap"}
        ]));
        let after = with_entry(&before, Path::new(SOCKET)).unwrap().unwrap();
        assert_eq!(types(&after), ["bridge", "portmap", "postern-cni"]);
        let after: Value = serde_json::from_slice(&after).unwrap();
        assert_eq!(after["plugins"][2]["socket"], SOCKET);
        assert_eq!(after["plugins"][0]["mtu"], 1400);
        assert_eq!(after["name"], "cluster");
    }

    #[test]
    fn a_list_that_has_it_already_is_not_written_again() {
        let before = list(&json!([{"type": "bridge"}]));
        let after = with_entry(&before, Path::new(SOCKET)).unwrap().unwrap();
        assert_eq!(with_entry(&after, Path::new(SOCKET)).unwrap(), None);
    }

    #[test]
    fn the_way_back_leaves_what_was_there_before() {
        let before = list(&json!([{"type": "bridge"}, {"type": "portmap"}]));
        let after = with_entry(&before, Path::new(SOCKET)).unwrap().unwrap();
        let back = without_entry(&after).unwrap().unwrap();
        let (before, back): (Value, Value) = (
            serde_json::from_slice(&before).unwrap(),
            serde_json::from_slice(&back).unwrap(),
        );
        assert_eq!(before, back);
        assert_eq!(without_entry(back.to_string().as_bytes()).unwrap(), None);
    }

    #[test]
    fn a_list_that_cannot_be_chained_to_is_refused_with_its_reason() {
        let refused = |text: &[u8]| with_entry(text, Path::new(SOCKET)).unwrap_err();
        assert!(matches!(refused(b"{\"cniVer"), ListError::Decode(_)));
        assert!(matches!(
            refused(&list(&json!([{"type": "postern-cni"}]))),
            ListError::NoPlugins
        ));
        assert!(matches!(
            refused(b"{\"cniVersion\": \"1.0.0\"}"),
            ListError::NoPlugins
        ));
        assert!(matches!(
            refused(b"{\"plugins\": [{\"type\": \"bridge\"}]}"),
            ListError::Version(_)
        ));
    }
}
