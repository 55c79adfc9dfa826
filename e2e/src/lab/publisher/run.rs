//! The process `lab run publisher`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::{Inotify, WatchMask};
use jiff::{SignedDuration, Timestamp};
use postern_intent::body::ClusterDns;
use posternctl::files::{PublishOptions, PublishOutcome, publish_once};
use posternctl::keys::{read_signing_key, trust_in};
use serde_json::json;

use crate::lab::error::{LabError, chain};
use crate::lab::publisher::delay::Delay;
use crate::lab::topology;
use crate::lab::{Lab, LabState};

/// Time between two questions for changes.
const PAUSE: Duration = Duration::from_millis(5);

/// A run without any change: refreshes fall due by time alone.
const TICK: Duration = Duration::from_secs(1);

/// The files that an agent reads its intent from, and what all nodes read.
const DOCUMENTS: [&str; 2] = ["cluster.dsse.json", "intent.dsse.json"];

struct Publisher {
    lab: Lab,
    /// What the compiler takes for the lab's folder: the folder itself, or a view of it in which files arrive late.
    folder: PathBuf,
    options: PublishOptions,
    changes: Inotify,
    reports: Option<Delay>,
    intents: Option<Delay>,
    last_error: String,
}

/// Publishes at every change of manifests, reports and approvals, and when a refresh is due, until it is killed.
///
/// # Errors
/// When the folder cannot be watched or the key cannot be read; a run that fails is logged and tried again.
pub fn run(lab: &Lab) -> Result<(), LabError> {
    let state = lab.state()?;
    let mut publisher = Publisher::open(lab, &state)?;
    let mut last = None;
    loop {
        let now = Instant::now();
        let due = last.is_none_or(|last| now.duration_since(last) >= TICK);
        if publisher.changed(now)? || due {
            publisher.publish();
            last = Some(now);
        }
        if let Some(intents) = &mut publisher.intents {
            intents.step(now)?;
        }
        std::thread::sleep(PAUSE);
    }
}

impl Publisher {
    fn open(lab: &Lab, state: &LabState) -> Result<Self, LabError> {
        let changes = watch(lab)?;
        let options = options(lab, state)?;
        let delays = [state.options.report_delay, state.options.intent_delay];
        let [report, intent] = delays.map(|delay| Duration::try_from(delay).ok());
        let [report, intent] = [report, intent].map(|delay| delay.filter(|time| !time.is_zero()));
        let mut folder = lab.dir().to_owned();
        if report.or(intent).is_some() {
            folder.push("late");
            view(
                lab,
                &folder,
                [("reports", report.is_some()), ("intents", intent.is_some())],
            )?;
        }
        let nodes: Vec<&str> = state.nodes.iter().map(|node| node.name.as_str()).collect();
        let reports = nodes.iter().map(|node| {
            (
                lab.report(node),
                folder.join("reports").join(format!("{node}.json")),
            )
        });
        let reports = report.map(|delay| Delay::new(lab.clone(), delay, reports.collect()));
        let intents = nodes.iter().flat_map(|node| {
            let (from, to) = (folder.join("intents").join(node), lab.intents(node));
            DOCUMENTS.map(|file| (from.join(file), to.join(file)))
        });
        let intents = intent.map(|delay| Delay::new(lab.clone(), delay, intents.collect()));
        let (lab, last_error) = (lab.clone(), String::new());
        Ok(Self {
            lab,
            folder,
            options,
            changes,
            reports,
            intents,
            last_error,
        })
    }

    /// Whether anything that the compiler reads has changed.
    fn changed(&mut self, now: Instant) -> Result<bool, LabError> {
        let mut buffer = [0; 4096];
        let events = match self.changes.read_events(&mut buffer) {
            Ok(events) => events.count() > 0,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(LabError::file("watch", self.lab.dir())(error)),
        };
        let late = self
            .reports
            .as_mut()
            .map(|reports| reports.step(now))
            .transpose()?;
        Ok(events || late.is_some_and(|copied| copied > 0))
    }

    fn publish(&mut self) {
        let now = Timestamp::now();
        match publish_once(&self.folder, &self.options, now) {
            Ok(outcome) => {
                self.last_error.clear();
                tell(now, &outcome);
            }
            Err(error) => {
                let text = chain(&error);
                if text != self.last_error {
                    println!("{}", json!({"at": now, "error": text}));
                    self.last_error = text;
                }
            }
        }
    }
}

fn watch(lab: &Lab) -> Result<Inotify, LabError> {
    let inotify = Inotify::init().map_err(LabError::file("watch", lab.dir()))?;
    let come = WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE;
    let events = come | WatchMask::DELETE | WatchMask::MOVED_FROM;
    for folder in [lab.dir().join("manifests"), lab.dir().join("reports")] {
        let added = inotify.watches().add(&folder, events);
        added.map_err(LabError::file("watch", folder))?;
    }
    Ok(inotify)
}

fn tell(now: Timestamp, outcome: &PublishOutcome) {
    if !outcome.written.is_empty() || !outcome.restored.is_empty() {
        let held = outcome.held.len();
        println!(
            "{}",
            json!({"at": now, "written": outcome.written, "restored": outcome.restored, "held": held})
        );
    }
}

fn options(lab: &Lab, state: &LabState) -> Result<PublishOptions, LabError> {
    let key = |why: &dyn std::fmt::Display| LabError::Key {
        why: why.to_string(),
    };
    let signing_keys = vec![read_signing_key(&lab.signing_key()).map_err(|error| key(&error))?];
    let trusted = trust_in(&signing_keys).map_err(|error| key(&error))?;
    let mut options = PublishOptions {
        signing_keys,
        trusted,
        settings: Default::default(),
    };
    let word = |range: ipnet::IpNet| {
        let why = "the compiler does not take it for a range".to_owned();
        range.to_string().parse().map_err(|_| LabError::Invalid {
            what: "range",
            value: range.to_string(),
            why,
        })
    };
    let words = |ranges: [ipnet::IpNet; 2]| {
        ranges
            .into_iter()
            .map(word)
            .collect::<Result<_, LabError>>()
    };
    options.settings.pod_ranges = words(topology::pair(topology::PODS4, topology::PODS6))?;
    options.settings.service_ranges =
        words(topology::pair(topology::SERVICES4, topology::SERVICES6))?;
    options.settings.dns = ClusterDns {
        domain: "cluster.local".to_owned(),
        addresses: vec![topology::DNS4.into(), topology::DNS6.into()],
    };
    options.settings.validity = positive(state.options.validity);
    options.settings.refresh = positive(state.options.refresh);
    Ok(options)
}

fn positive(duration: SignedDuration) -> SignedDuration {
    duration.max(SignedDuration::from_millis(1))
}

/// A folder that shows the lab's own manifests and approvals, and reports and intents late or at once.
fn view(lab: &Lab, folder: &Path, own: [(&str, bool); 2]) -> Result<(), LabError> {
    fs::create_dir_all(folder).map_err(LabError::file("create", folder))?;
    for (name, _) in own.iter().filter(|(_, late)| *late) {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(LabError::file("create", path))?;
    }
    let shown = own.iter().filter(|(_, late)| !*late).map(|(name, _)| *name);
    for name in ["manifests", "approvals.yaml"].into_iter().chain(shown) {
        link(&lab.dir().join(name), &folder.join(name))?;
    }
    link(
        &folder.join("verdicts.json"),
        &lab.dir().join("verdicts.json"),
    )
}

fn link(target: &Path, at: &Path) -> Result<(), LabError> {
    match symlink(target, at) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(LabError::file("link", at)(error))
        }
        _ => Ok(()),
    }
}
