//! What a lab with an API server shows besides: the users' objects tell what the kernels say, and nobody who decides
//! has to be there for what was decided to hold.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::lab::Lab;
use crate::lab::LabError;
use crate::proof::demo::claims::Claims;
use crate::proof::demo::pods::DemoPods;
use crate::proof::harness::{After, FLOWS, wait_until};

/// Longer than anything that is waited for: nodes report at once, and the users' objects follow within seconds.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// The objects of the samples with the condition that sums each of them up.
const OBJECTS: [(&str, &[&str]); 2] = [
    ("ExitNode eu", &["exitnode", "eu"]),
    (
        "EgressPolicy crawlers/crawler",
        &["egresspolicy", "crawler", "-n", "crawlers"],
    ),
];

/// Claims that each object is `Ready`, of the generation that was applied.
pub(super) fn said(lab: &Lab, claims: &mut Claims) -> Result<(), LabError> {
    for (name, object) in OBJECTS {
        let mut last = String::new();
        let waited = wait_until(READY_DEADLINE, "an object that is ready", || {
            last = ready(lab, object)?;
            Ok((last == "True").then_some(()))
        });
        match waited {
            Ok(()) | Err(LabError::Timeout { .. }) => {}
            Err(error) => return Err(error),
        }
        claims.equal(
            format!("{name}: Ready, of the generation that was applied"),
            "True",
            last,
        );
    }
    Ok(())
}

/// The status of `Ready`; what was said of an older generation does not count.
fn ready(lab: &Lab, object: &[&str]) -> Result<String, LabError> {
    let text = lab.kubectl_ok(&[&["get", "-o", "json"], object].concat())?;
    let object: Value = serde_json::from_str(&text).map_err(LabError::json("kubectl's answer"))?;
    let conditions = object["status"]["conditions"].as_array();
    let current = conditions.into_iter().flatten().find(|condition| {
        condition["type"] == "Ready"
            && condition["observedGeneration"] == object["metadata"]["generation"]
    });
    let status = current.and_then(|condition| condition["status"].as_str());
    Ok(status.unwrap_or("not said").to_owned())
}

/// API server and operators go, and an agent has to start without them.
pub(super) fn away(
    lab: &Lab,
    pods: &DemoPods,
    claims: &mut Claims,
    on_stage: &mut dyn FnMut(&str),
) -> Result<(), LabError> {
    let case = "API server and both operators away, the agent started anew";
    on_stage(case);
    let proof = lab.prove(case, &pods.crawler, After::Flows, |lab| {
        lab.kill_publishers()?;
        lab.stop_api_server()?;
        lab.kill("agent-n1")?;
        lab.start_agent("n1")?;
        pods.crawler
            .await_answers(&FLOWS, Timestamp::now(), READY_DEADLINE)
    })?;
    claims.some(format!("{case}: attempted"), proof.attempted);
    claims.some(
        format!("{case}: arrived by the exit after it"),
        proof.arrived_after,
    );
    claims.equal(format!("{case}: leaked"), 0, proof.leaked);
    lab.restart_api_server()?;
    lab.start_publishers()
}
