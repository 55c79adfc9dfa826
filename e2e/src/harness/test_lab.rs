//! A lab for one test.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use jiff::Timestamp;
use postern_intent::Body;
use postern_intent::sign::sign_intent;
use serde_json::Value;
use tempfile::TempDir;

use crate::error::{LabError, chain};
use crate::harness::{Sender, wait_until};
use crate::judge::{Packets, world_packets};
use crate::lab::{Binaries, Lab, PodOptions, PodRecord, Programs, UpOptions, read_json};

/// Every wait of a test ends after this time unless it says another one.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A lab in a folder of its own. It is taken down when the value goes, and a lab that leaves something behind fails its
/// test. With `POSTERN_LAB_KEEP=1` a lab whose test failed stays, and the line to step inside is printed.
#[derive(Debug)]
pub struct TestLab {
    lab: Lab,
    folder: Option<TempDir>,
}

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl TestLab {
    /// A lab with these options.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn up(options: &UpOptions) -> Result<Self, LabError> {
        let parent = Path::new("/tmp");
        let folder = tempfile::Builder::new().prefix("plab-").tempdir_in(parent);
        let folder = folder.map_err(LabError::file("create a folder in", parent))?;
        let lab = Lab::up(folder.path(), options, &mut |_| {})?;
        Ok(Self {
            lab,
            folder: Some(folder),
        })
    }

    /// A lab without any of Postern's programs.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn bare() -> Result<Self, LabError> {
        Self::up(&UpOptions {
            programs: Programs::Bare,
            ..UpOptions::default()
        })
    }

    /// Applies objects written as YAML.
    ///
    /// # Errors
    /// As [`Lab::apply`].
    pub fn apply_yaml(&self, text: &str) -> Result<(), LabError> {
        self.lab
            .apply(crate::lab::parse_objects(text, "the test's YAML")?)
            .map(drop)
    }

    /// Deletes objects written as YAML.
    ///
    /// # Errors
    /// As [`Lab::delete`].
    pub fn delete_yaml(&self, text: &str) -> Result<(), LabError> {
        self.lab
            .delete(&crate::lab::parse_objects(text, "the test's YAML")?)
            .map(drop)
    }

    /// A pod, `namespace/name`.
    ///
    /// # Errors
    /// As [`Lab::create_pod`].
    pub fn pod_on(&self, key: &str, options: &PodOptions) -> Result<PodRecord, LabError> {
        let (namespace, name) = crate::cli::pod_name(key)?;
        self.lab.create_pod(&namespace, &name, options)
    }

    /// A pod that sends TCP, UDP and ICMP in both families every 5 ms from its first instruction.
    ///
    /// # Errors
    /// As [`Lab::create_pod`].
    pub fn sender(&self, key: &str, options: PodOptions) -> Result<Sender, LabError> {
        let program = Binaries::locate()?.lab();
        let out = self
            .lab
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

    /// What the world saw from the start.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn packets(&self) -> Result<Packets, LabError> {
        world_packets(&self.lab, None)
    }

    /// What the world saw since a time.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn packets_since(&self, since: Timestamp) -> Result<Packets, LabError> {
        world_packets(&self.lab, Some(since))
    }

    /// The status of a node's last report, or nothing while there is none.
    #[must_use]
    pub fn report_status(&self, node: &str) -> Option<Value> {
        let report: Option<Value> = read_json(&self.lab.report(node)).ok();
        report.and_then(|report| report.get("status").cloned())
    }

    /// Waits until a node's report says something; the error shows the last report.
    ///
    /// # Errors
    /// `Timeout`.
    pub fn await_report(
        &self,
        node: &str,
        what: &str,
        says: impl Fn(&Value) -> bool,
    ) -> Result<Value, LabError> {
        let found = wait_until(PATIENCE, what, || {
            Ok(self.report_status(node).filter(&says))
        });
        found.map_err(|error| self.with_detail(error, node))
    }

    /// Signs a body with the lab's key and puts it in its node's folder, in the publisher's place: stop that first.
    ///
    /// Answers the digest by which a report will name it.
    ///
    /// # Errors
    /// When the key cannot be read or the file cannot be written.
    pub fn publish(&self, body: &Body) -> Result<String, LabError> {
        let key = |why: &dyn std::fmt::Display| LabError::Key {
            why: why.to_string(),
        };
        let path = self.lab.signing_key();
        let pem = std::fs::read_to_string(&path).map_err(LabError::file("read", path))?;
        let signing = SigningKey::from_pkcs8_pem(&pem);
        let envelope = sign_intent(body, &[signing.map_err(|error| key(&error))?])
            .map_err(|error| key(&error))?;
        let digest = envelope.digest().map_err(|error| key(&error))?;
        let text = serde_json::to_vec(&envelope).map_err(LabError::json("an envelope"))?;
        let target = self
            .lab
            .intents(body.node.name.as_str())
            .join("intent.dsse.json");
        self.lab.write_atomically(&target, &text)?;
        Ok(digest)
    }

    fn with_detail(&self, error: LabError, node: &str) -> LabError {
        match error {
            LabError::Timeout { what, seconds, .. } => {
                let report = self
                    .report_status(node)
                    .map_or("none".to_owned(), |report| report.to_string());
                let log = self.lab.log_tail(&format!("agent-{node}"), 5);
                LabError::Timeout {
                    what,
                    seconds,
                    detail: format!("; last report: {report}; agent's log: {log}"),
                }
            }
            other => other,
        }
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed && std::env::var_os("POSTERN_LAB_KEEP").is_some() {
            eprintln!(
                "the lab stays: lab --dir {} status",
                self.lab.dir().display()
            );
            self.folder.take().map(TempDir::keep);
            return;
        }
        let left = self.lab.down().err().map(|error| chain(&error));
        assert!(failed || left.is_none(), "{}", left.unwrap_or_default());
    }
}
