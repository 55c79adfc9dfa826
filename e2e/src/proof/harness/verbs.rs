//! What tests and the demo do with a lab besides its verbs.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use jiff::Timestamp;
use postern_intent::Body;
use postern_intent::sign::{sign_cluster, sign_intent};
use serde_json::Value;

use crate::cluster::{OPERATORS, operator_name};
use crate::lab::LabError;
use crate::lab::{Binaries, Cluster, Lab, PodOptions, PodRecord, read_json};
use crate::proof::harness::{Sender, wait_until};
use crate::proof::judge::{Packets, PodCount, pod_since, world_packets};

/// The time after which a wait fails, unless its call has another one.
pub const WAIT_DEADLINE: Duration = Duration::from_secs(30);

impl Lab {
    /// Applies objects written as YAML.
    pub fn apply_yaml(&self, text: &str) -> Result<(), LabError> {
        self.apply(crate::lab::parse_objects(text, "the test's YAML")?)
            .map(drop)
    }

    /// Deletes objects written as YAML.
    pub fn delete_yaml(&self, text: &str) -> Result<(), LabError> {
        self.delete(&crate::lab::parse_objects(text, "the test's YAML")?)
            .map(drop)
    }

    /// A pod, `namespace/name`.
    pub fn pod_on(&self, key: &str, options: &PodOptions) -> Result<PodRecord, LabError> {
        let (namespace, name) = crate::lab::pod_name(key)?;
        self.create_pod(&namespace, &name, options)
    }

    /// A pod that sends TCP, UDP and ICMP in both families every 5 ms from its first instruction.
    pub fn sender(&self, key: &str, options: PodOptions) -> Result<Sender, LabError> {
        let program = Binaries::locate()?.lab();
        let out = self
            .dir()
            .join("run")
            .join(format!("{}.send", key.replace('/', ".")));
        let command = [
            program.into_os_string(),
            "send".into(),
            "--out".into(),
            out.clone().into_os_string(),
        ];
        Ok(Sender::new(
            self.pod_on(key, &options.command(command))?,
            out,
        ))
    }

    /// Waits until packets of a sender leave by the exit in force, and answers how many did so meanwhile.
    ///
    /// # Errors
    /// `Timeout`, or when a counter cannot be read.
    pub fn await_exit(&self, sender: &Sender) -> Result<u64, LabError> {
        let begin = Timestamp::now();
        let what = format!(
            "the departure of packets of {} by the exit",
            sender.pod.key()
        );
        let found = wait_until(WAIT_DEADLINE, &what, || {
            let exited = self.pod_since(sender, begin)?.exited;
            Ok((exited > 0).then_some(exited))
        });
        found.map_err(|error| self.with_detail(error, &sender.pod.node))
    }

    /// What the world saw from the start.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn packets(&self) -> Result<Packets, LabError> {
        world_packets(self, None)
    }

    /// What the world saw since a time.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn packets_since(&self, since: Timestamp) -> Result<Packets, LabError> {
        world_packets(self, Some(since))
    }

    /// What left of a sender since a time, by the capture alone: for questions that are asked again and again.
    ///
    /// # Errors
    /// When the capture cannot be read.
    pub fn pod_since(&self, sender: &Sender, since: Timestamp) -> Result<PodCount, LabError> {
        pod_since(self, &sender.pod, since)
    }

    /// The status of a node's last report, or nothing while there is none.
    #[must_use]
    pub fn report_status(&self, node: &str) -> Option<Value> {
        let report: Option<Value> = read_json(&self.report(node)).ok();
        report.and_then(|report| report.get("status").cloned())
    }

    /// Waits until a node's report fulfils a condition; the error contains the last report.
    ///
    /// # Errors
    /// `Timeout`.
    pub fn await_report(
        &self,
        node: &str,
        what: &str,
        says: impl Fn(&Value) -> bool,
    ) -> Result<Value, LabError> {
        self.await_report_for(WAIT_DEADLINE, node, what, says)
    }

    /// [`Lab::await_report`] with a deadline of its own.
    ///
    /// # Errors
    /// `Timeout`.
    pub fn await_report_for(
        &self,
        deadline: Duration,
        node: &str,
        what: &str,
        says: impl Fn(&Value) -> bool,
    ) -> Result<Value, LabError> {
        let found = wait_until(deadline, what, || {
            Ok(self.report_status(node).filter(&says))
        });
        found.map_err(|error| self.with_detail(error, node))
    }

    /// Kills the publisher, or both operators in a lab with an API server.
    ///
    /// # Errors
    /// When something does not go.
    pub fn kill_publishers(&self) -> Result<(), LabError> {
        match self.state()?.options.cluster {
            Cluster::Standalone => self.kill("publisher"),
            Cluster::ApiServer => {
                (1..=OPERATORS).try_for_each(|number| self.kill(&operator_name(number)?))
            }
        }
    }

    /// Starts the publisher, or both operators, again.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start_publishers(&self) -> Result<(), LabError> {
        match self.state()?.options.cluster {
            Cluster::Standalone => self.start_publisher(),
            Cluster::ApiServer => {
                (1..=OPERATORS).try_for_each(|number| self.start_operator(number))
            }
        }
    }

    /// Signs the two documents of a body with the lab's key and puts them in its node's folder, in the publisher's place: stop that first.
    ///
    /// Answers the digest by which a report will name it.
    ///
    /// # Errors
    /// When the key cannot be read or the file cannot be written.
    pub fn publish(&self, body: &Body) -> Result<String, LabError> {
        let key = |why: &dyn std::fmt::Display| LabError::Key {
            why: why.to_string(),
        };
        let path = self.signing_key();
        let pem = std::fs::read_to_string(&path).map_err(LabError::file("read", path))?;
        let signing = SigningKey::from_pkcs8_pem(&pem);
        let keys = [signing.map_err(|error| key(&error))?];
        let folder = self.intents(body.node.name.as_str());
        let (intent, cluster) = body.clone().documents();
        let cluster = sign_cluster(&cluster, &keys).map_err(|error| key(&error))?;
        let intent = sign_intent(&intent, &keys).map_err(|error| key(&error))?;
        for (file, envelope) in [
            ("cluster.dsse.json", &cluster),
            ("intent.dsse.json", &intent),
        ] {
            let text = serde_json::to_vec(envelope).map_err(LabError::json("an envelope"))?;
            self.write_atomically(&folder.join(file), &text)?;
        }
        intent.digest().map_err(|error| key(&error))
    }

    fn with_detail(&self, error: LabError, node: &str) -> LabError {
        match error {
            LabError::Timeout {
                what,
                seconds,
                detail,
            } => {
                let report = self
                    .report_status(node)
                    .map_or("none".to_owned(), |report| report.to_string());
                let log = self.log_tail(&format!("agent-{node}"), 5);
                LabError::Timeout {
                    what,
                    seconds,
                    detail: format!("{detail}; last report: {report}; agent's log: {log}"),
                }
            }
            other => other,
        }
    }
}
