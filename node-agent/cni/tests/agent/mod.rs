//! An agent that answers every request with one line, and remembers what it was asked.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::Value;

/// A run folder, with or without an agent in it.
pub(crate) struct RunFolder {
    folder: tempfile::TempDir,
    asked: Option<mpsc::Receiver<Value>>,
}

impl RunFolder {
    /// Nobody listens.
    pub(crate) fn without_agent() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            asked: None,
        }
    }

    /// Every request is answered with this line.
    pub(crate) fn with_agent(answer: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        let (sender, asked) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self {
            folder,
            asked: Some(asked),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// The next request that the agent was asked.
    pub(crate) fn asked(&self) -> Value {
        let asked = self.asked.as_ref().unwrap();
        asked
            .recv_timeout(std::time::Duration::from_secs(5))
            .unwrap()
    }

    /// Calls the plugin as a runtime does.
    pub(crate) fn call(&self, verb: &str, configuration: &Value) -> Answer {
        let mut configuration = configuration.clone();
        configuration["socket"] = self.socket().to_str().unwrap().into();
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern-cni"))
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "c1")
            .env("CNI_NETNS", "/var/run/netns/x")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env(
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;\
                 K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=7c2a",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(configuration.to_string().as_bytes())
            .unwrap();
        Answer(child.wait_with_output().unwrap())
    }
}

/// What the plugin left behind.
pub(crate) struct Answer(Output);

impl Answer {
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}
