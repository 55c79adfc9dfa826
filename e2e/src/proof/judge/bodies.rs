//! Which intents were in force, from what was published and what nodes reported.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use postern_intent::{Body, KeySet};

use crate::lab::topology::Node;
use crate::proof::monitor::{Applied, Published};

/// Two intents that come within this time may be written one over the other.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(2);

/// A verified intent that was in force on a node, or may have been.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct InForce {
    pub(super) node: String,
    pub(super) released: bool,
    pub(super) published: Timestamp,
    /// From when on nothing else was in force.
    pub(super) verified: Timestamp,
    pub(super) body: Arc<Body>,
    digest: String,
}

/// What was in force, and why a report is not to be believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bodies {
    pub(super) in_force: Vec<InForce>,
    pub(super) unfounded: Vec<String>,
}

impl Bodies {
    pub(super) fn of(
        nodes: &[Node],
        keys: &[KeySet],
        published: &[Published],
        applied: &[Applied],
    ) -> Self {
        let mut bodies = Self::default();
        for node in nodes {
            bodies.add_node(node, keys, published, applied);
        }
        bodies
    }

    fn add_node(
        &mut self,
        node: &Node,
        keys: &[KeySet],
        published: &[Published],
        applied: &[Applied],
    ) {
        let published: Vec<&Published> = published
            .iter()
            .filter(|intent| intent.node == node.name)
            .collect();
        let mut named: Vec<InForce> = Vec::new();
        let mut mentions = mentions(node, applied);
        mentions.dedup_by(|next, missed| replaced(&published, missed, next));
        for report in mentions {
            let same = |intent: &&&Published| intent.digest == report.digest;
            let found = published.iter().find(same);
            let found = found.map(|intent| {
                let verified = verified(intent, node, keys);
                let in_order = verified.and_then(|body| follows(&named, &report, body));
                (intent, in_order)
            });
            match found {
                Some((intent, Ok(body))) => named.push(InForce {
                    node: node.name.clone(),
                    released: report.released,
                    published: intent.at,
                    verified: report.verified,
                    digest: report.digest,
                    body,
                }),
                Some((_, Err(refusal))) => self.say(node, &report.digest, &refusal),
                None => self.say(node, &report.digest, "nobody has published it"),
            }
        }
        settle(&mut named);
        let passed = passed_over(node, keys, &published, &named);
        self.in_force.extend(named);
        self.in_force.extend(passed);
    }

    fn say(&mut self, node: &Node, digest: &str, why: &str) {
        self.unfounded
            .push(format!("{} reports {digest}: {why}", node.name));
    }
}

/// Whether the first of two mentions is of an intent that was replaced before anybody could see it in its folder: the
/// next one came at once. Nothing is in force by an intent that nobody knows, so that it forgives nothing either. The
/// next mention takes its place then.
fn replaced(published: &[&Published], missed: &mut Mention, next: &mut Mention) -> bool {
    let known = |digest: &str| published.iter().find(|intent| intent.digest == digest);
    let (None, Some(intent)) = (known(&missed.digest), known(&next.digest)) else {
        return false;
    };
    let apart = intent.at.duration_since(missed.verified).abs();
    let at_once = apart <= AT_ONCE;
    if at_once {
        std::mem::swap(missed, next);
    }
    at_once
}

/// The body of an intent that its node had to accept.
///
/// A waiting case asks again and again, and most of the intents are the same each time: each is verified once.
fn verified(intent: &Published, node: &Node, keys: &[KeySet]) -> Result<Arc<Body>, String> {
    type Known = BTreeMap<(String, String, String, Timestamp, usize), Result<Arc<Body>, String>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    // The digest is of what was signed, and not of the signatures.
    let signatures = intent.envelope["signatures"].to_string();
    let (digest, at) = (intent.digest.clone(), intent.at);
    let key = (node.uid.clone(), digest, signatures, at, keys.len());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known
        .entry(key)
        .or_insert_with(|| intent.verified(node, keys).map(Arc::new));
    found.clone()
}

/// Refuses a body that is older than the last one, or another one of the same serial. A release is recorded as the
/// intent before it, under a name of its own.
fn follows(named: &[InForce], report: &Mention, body: Arc<Body>) -> Result<Arc<Body>, String> {
    let last = named.iter().rfind(|last| !last.released);
    let Some(last) = last.filter(|_| !report.released) else {
        return Ok(body);
    };
    if body.serial < last.body.serial {
        return Err(format!(
            "serial {} is below {}",
            body.serial, last.body.serial
        ));
    }
    if body.serial == last.body.serial && report.digest != last.digest {
        return Err(format!("serial {} had another digest", body.serial));
    }
    Ok(body)
}

/// A change of what a node reports.
struct Mention {
    digest: String,
    released: bool,
    /// The youngest check that the report shows of it.
    verified: Timestamp,
}

/// Reports one after the other that name the same are one.
fn mentions(node: &Node, applied: &[Applied]) -> Vec<Mention> {
    let mut mentions: Vec<Mention> = Vec::new();
    for report in applied.iter().filter(|report| report.node == node.name) {
        match mentions.last_mut() {
            Some(last) if (&last.digest, last.released) == (&report.digest, report.released) => {
                last.verified = last.verified.max(report.verified_at);
            }
            _ => mentions.push(Mention {
                digest: report.digest.clone(),
                released: report.released,
                verified: report.verified_at,
            }),
        }
    }
    mentions
}

/// A check that is older than an intent says nothing about it. Where a node never showed a younger one, the intent and
/// the one before it are both right until the next one is verified: a node that has not verified has promised nothing.
fn settle(named: &mut [InForce]) {
    let mut next = Timestamp::MAX;
    for intent in named.iter_mut().rev() {
        if intent.verified < intent.published {
            // The judge takes both for right: a node that has not verified an intent has not promised it yet.
            intent.verified = next;
        }
        next = next.min(intent.verified);
    }
}

/// Good intents that no report names, because the next one came within the second that reports are apart: they may have
/// been in force until that next one was verified. A document that an agent must refuse is none of them.
fn passed_over(
    node: &Node,
    keys: &[KeySet],
    published: &[&Published],
    named: &[InForce],
) -> Vec<InForce> {
    let by_digest: BTreeMap<&str, &InForce> = named
        .iter()
        .map(|intent| (intent.digest.as_str(), intent))
        .collect();
    let unnamed = published
        .iter()
        .filter(|intent| !by_digest.contains_key(intent.digest.as_str()));
    let found = unnamed.filter_map(|intent| {
        let body = verified(intent, node, keys).ok()?;
        let next = named
            .iter()
            .filter(|later| later.published >= intent.at && later.body.serial > body.serial)
            .min_by_key(|later| later.verified)?;
        Some(InForce {
            released: false,
            published: intent.at,
            verified: next.verified,
            digest: intent.digest.clone(),
            body,
            ..next.clone()
        })
    });
    found.collect()
}
