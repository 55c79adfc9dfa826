//! The process `lab run monitor`, and asking it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use jiff::Timestamp;
use nix::ifaddrs::getifaddrs;
use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::lab::LabError;
use crate::lab::topology::Node;
use crate::proof::monitor::capture::{Burst, Capture};
use crate::proof::monitor::flows::Uplink;
use crate::proof::monitor::history::Watcher;
use crate::proof::monitor::log::{Recording, Writer};

/// A monitor that does not answer within this time is lost.
const SYNC_DEADLINE: Duration = Duration::from_secs(20);

/// The state of the capture at a moment: every packet that entered the LAN before the question is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    pub packets: u64,
    pub dropped: u64,
}

struct Question {
    asked: i64,
    answer: Sender<Synced>,
}

fn socket(lab: &Lab) -> PathBuf {
    lab.dir().join("run/monitor.sock")
}

fn folder(lab: &Lab) -> PathBuf {
    lab.dir().join("history")
}

/// Runs the monitor until it is killed, in the network namespace of the calling thread.
///
/// # Errors
/// When the socket cannot be opened or a file cannot be written.
pub fn run(lab: &Lab) -> Result<(), LabError> {
    let nodes = lab.state()?.nodes;
    let uplinks = nodes
        .iter()
        .map(|node| Ok((node.name.clone(), uplink(lab, node)?)))
        .collect::<Result<_, LabError>>()?;
    let mut capture = Capture::open(uplinks, Writer::create(&folder(lab))?)?;
    let names = nodes.iter().map(|node| node.name.clone()).collect();
    let watcher = Watcher::new(lab.clone(), names);
    let history = std::thread::spawn(|| watcher.run());
    let path = socket(lab);
    if path.exists() {
        std::fs::remove_file(&path).map_err(LabError::file("remove", &path))?;
    }
    let listener = UnixListener::bind(&path).map_err(LabError::file("listen on", path))?;
    let (questions, asked) = channel();
    std::thread::spawn(move || listen(&listener, &questions));
    let mut waiting = Vec::new();
    while !history.is_finished() {
        step(&mut capture, &asked, &mut waiting)?;
    }
    history.join().map_err(|_| LabError::ThreadLost {
        act: "keep the history",
    })?
}

/// A node's own interface on the LAN, as it is when the monitor starts.
fn uplink(lab: &Lab, node: &Node) -> Result<Uplink, LabError> {
    let mac = lab.node_namespace(&node.name).run(|| {
        let all = getifaddrs().map_err(LabError::system("list the interfaces"))?;
        let mut macs = all
            .filter(|address| address.interface_name == "eth0")
            .filter_map(|address| address.address?.as_link_addr()?.addr());
        Ok(macs.next())
    })?;
    let mac = mac.ok_or_else(|| LabError::Invalid {
        what: "uplink",
        value: node.name.clone(),
        why: "it should have a MAC address".to_owned(),
    })?;
    let addresses = node.addresses().into();
    Ok(Uplink { addresses, mac })
}

fn step(
    capture: &mut Capture,
    asked: &Receiver<Question>,
    waiting: &mut Vec<Question>,
) -> Result<(), LabError> {
    waiting.extend(asked.try_iter());
    let burst = capture.read()?;
    let ready = |question: &mut Question| match burst {
        Burst::Drained => true,
        Burst::Until(time) => time > question.asked,
    };
    let answered: Vec<Question> = waiting.extract_if(.., ready).collect();
    if !answered.is_empty() {
        let synced = Synced {
            packets: capture.flush()?,
            dropped: capture.dropped,
        };
        for question in answered {
            // Whoever asked may have gone.
            let _ = question.answer.send(synced);
        }
    }
    Ok(())
}

fn listen(listener: &UnixListener, questions: &Sender<Question>) {
    for stream in listener.incoming().flatten() {
        let questions = questions.clone();
        std::thread::spawn(move || converse(stream, &questions));
    }
}

fn converse(mut stream: UnixStream, questions: &Sender<Question>) -> Option<()> {
    let (answer, answers) = channel();
    let asked = i64::try_from(Timestamp::now().as_nanosecond()).ok()?;
    questions.send(Question { asked, answer }).ok()?;
    let synced = serde_json::to_string(&answers.recv().ok()?).ok()?;
    writeln!(stream, "{synced}").ok()
}

/// Asks the monitor to put everything that has entered the LAN so far on disk.
///
/// # Errors
/// When the monitor does not run or does not answer.
pub fn synchronise(lab: &Lab) -> Result<Synced, LabError> {
    let path = socket(lab);
    let stream = UnixStream::connect(&path).map_err(LabError::file("connect to", &path))?;
    stream
        .set_read_timeout(Some(SYNC_DEADLINE))
        .map_err(LabError::file("read", &path))?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(LabError::file("read", &path))?;
    serde_json::from_str(&line).map_err(LabError::json("the monitor's answer"))
}

impl Recording {
    /// The current capture of a lab.
    ///
    /// # Errors
    /// When the monitor does not answer or its files cannot be read.
    pub fn of(lab: &Lab) -> Result<Self, LabError> {
        Self::from(lab, Timestamp::MIN)
    }

    /// The current capture from about a time on, without what came before.
    pub(crate) fn from(lab: &Lab, since: Timestamp) -> Result<Self, LabError> {
        let synced = synchronise(lab)?;
        Self::read(&folder(lab), synced.packets, synced.dropped, since)
    }
}
