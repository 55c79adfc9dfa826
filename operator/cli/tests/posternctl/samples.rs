//! The samples are what an API server would take.

use std::fs;
use std::path::Path;

use posternctl::schema::judge;
use serde_json::Value;

#[test]
fn the_samples_are_valid_by_their_definitions() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/samples");
    let mut judged = 0;
    for sample in fs::read_dir(samples).expect("the samples") {
        let text = fs::read_to_string(sample.expect("a sample").path()).expect("a sample");
        for object in serde_saphyr::from_multiple::<Value>(&text).expect("YAML") {
            let ours = object["apiVersion"] == postern_crds::names::API_VERSION;
            assert!(judge(&object).is_ok(), "{object}: {:?}", judge(&object));
            judged += usize::from(ours);
        }
    }
    assert_eq!(judged, 2, "an exit and a policy");
}
