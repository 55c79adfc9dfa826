//! Which intents were in force, from what was published and what nodes reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use postern_intent::{Body, ClusterDocument, NodeDocument, Serial, TrustedKeys};

use crate::lab::topology::Node;
use crate::proof::monitor::{Applied, Published, PublishedCluster};

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
    document: Arc<NodeDocument>,
    digest: String,
}

/// What was published and what was reported.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    pub keys: &'a [TrustedKeys],
    /// Documents of nodes.
    pub published: &'a [Published],
    /// Cluster documents.
    pub cluster: &'a BTreeMap<Serial, PublishedCluster>,
    pub applied: &'a [Applied],
}

/// What was in force, and why a report is not to be believed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bodies {
    pub(super) in_force: Vec<InForce>,
    pub(super) unfounded: Vec<String>,
}

impl Bodies {
    pub(super) fn of(nodes: &[Node], history: &History<'_>) -> Self {
        let mut bodies = Self::default();
        for node in nodes {
            bodies.add_node(node, history);
        }
        bodies
    }

    fn add_node(&mut self, node: &Node, history: &History<'_>) {
        let published = history.published.iter();
        let published: Vec<&Published> = published
            .filter(|intent| intent.node == node.name)
            .collect();
        let mut named: Vec<InForce> = Vec::new();
        let mut mentions = mentions(node, history.applied);
        mentions.dedup_by(|next, missed| replaced(&published, missed, next));
        let mut mentions = mentions.into_iter().peekable();
        while let Some(report) = mentions.next() {
            let same = |intent: &&&Published| intent.digest == report.digest;
            let Some(intent) = published.iter().find(same) else {
                self.say(node, &report.digest, "nobody has published it");
                continue;
            };
            let Some(cluster) = history.cluster.get(&report.cluster_serial) else {
                let next = mentions.peek().map(|next| next.cluster_serial);
                let next = next.and_then(|serial| history.cluster.get(&serial));
                // Replaced before it could be seen, as an intent may be: the next mention takes its place.
                if next.is_none_or(|next| !is_at_once(next.at, report.verified)) {
                    let serial = report.cluster_serial;
                    let why = format!("nobody has published the cluster document {serial}");
                    self.say(node, &report.digest, &why);
                }
                continue;
            };
            let document = verified(intent, node, history.keys)
                .and_then(|document| follows(&named, &report, document))
                .and_then(|document| joins(&named, document, cluster));
            match document {
                Ok(document) => named.push(in_force(node, intent, &report, document, cluster)),
                Err(refusal) => self.say(node, &report.digest, &refusal),
            }
        }
        settle(&mut named);
        let passed = passed_over(node, history, &published, &named);
        self.in_force.extend(named);
        self.in_force.extend(passed);
    }

    fn say(&mut self, node: &Node, digest: &str, why: &str) {
        self.unfounded
            .push(format!("{} reports {digest}: {why}", node.name));
    }
}

fn in_force(
    node: &Node,
    intent: &Published,
    report: &Mention,
    document: Arc<NodeDocument>,
    cluster: &PublishedCluster,
) -> InForce {
    InForce {
        node: node.name.clone(),
        released: report.released,
        // Whichever of the two came last.
        published: intent.at.max(cluster.at),
        verified: report.verified,
        digest: report.digest.clone(),
        body: joined(&document, cluster),
        document,
    }
}

fn joined(document: &NodeDocument, cluster: &PublishedCluster) -> Arc<Body> {
    Arc::new(Body::of(document.clone(), cluster.document.clone()))
}

/// Whether the first of two mentions is of an intent that was replaced before anybody could see it in its folder: the
/// next one came at once. Nothing is in force by an intent that nobody knows, so that it forgives nothing either. The
/// next mention takes its place then.
fn replaced(published: &[&Published], missed: &mut Mention, next: &mut Mention) -> bool {
    let known = |digest: &str| published.iter().find(|intent| intent.digest == digest);
    let (None, Some(intent)) = (known(&missed.digest), known(&next.digest)) else {
        return false;
    };
    let at_once = is_at_once(intent.at, missed.verified);
    if at_once {
        std::mem::swap(missed, next);
    }
    at_once
}

fn is_at_once(published: Timestamp, verified: Timestamp) -> bool {
    published.duration_since(verified).abs() <= AT_ONCE
}

/// Refuses a cluster document that its node must not join with this intent, and one below the last that it joined.
fn joins(
    named: &[InForce],
    document: Arc<NodeDocument>,
    cluster: &PublishedCluster,
) -> Result<Arc<NodeDocument>, String> {
    let serial = cluster.document.serial;
    if !may_join(&document, cluster) {
        let needed = document.cluster_serial;
        return Err(format!(
            "an intent that names the cluster document {needed} is joined with {serial}"
        ));
    }
    let last = named.iter().map(|last| last.body.cluster_serial).max();
    match last.filter(|last| serial < *last) {
        Some(last) => Err(format!("the cluster document {serial} is below {last}")),
        None => Ok(document),
    }
}

/// The rule of `postern_intent::verify::join`.
fn may_join(document: &NodeDocument, cluster: &PublishedCluster) -> bool {
    let ClusterDocument {
        serial, follows, ..
    } = cluster.document;
    document.cluster_serial <= serial && document.cluster_serial >= follows
}

/// The body of an intent that its node had to accept.
///
/// A waiting case asks again and again, and most of the intents are the same each time: each is verified once.
fn verified(
    intent: &Published,
    node: &Node,
    keys: &[TrustedKeys],
) -> Result<Arc<NodeDocument>, String> {
    type Known =
        BTreeMap<(String, String, String, Timestamp, usize), Result<Arc<NodeDocument>, String>>;
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
fn follows(
    named: &[InForce],
    report: &Mention,
    body: Arc<NodeDocument>,
) -> Result<Arc<NodeDocument>, String> {
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
    cluster_serial: Serial,
    /// The youngest check that the report shows of it.
    verified: Timestamp,
}

/// Reports one after the other that name the same are one.
fn mentions(node: &Node, applied: &[Applied]) -> Vec<Mention> {
    let mut mentions: Vec<Mention> = Vec::new();
    for report in applied.iter().filter(|report| report.node == node.name) {
        match mentions.last_mut() {
            Some(last) if is_same(last, report) => {
                last.verified = last.verified.max(report.verified_at);
            }
            _ => mentions.push(Mention {
                digest: report.digest.clone(),
                released: report.released,
                cluster_serial: report.cluster_serial,
                verified: report.verified_at,
            }),
        }
    }
    mentions
}

fn is_same(last: &Mention, report: &Applied) -> bool {
    (&last.digest, last.released, last.cluster_serial)
        == (&report.digest, report.released, report.cluster_serial)
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

/// Good documents that no report names, because the next one came within the second that reports are apart: they may have
/// been in force until that next one was verified. A document that an agent must refuse is none of them.
fn passed_over(
    node: &Node,
    history: &History<'_>,
    published: &[&Published],
    named: &[InForce],
) -> Vec<InForce> {
    let by_digest: BTreeSet<&str> = named.iter().map(|intent| intent.digest.as_str()).collect();
    let unnamed = published
        .iter()
        .filter(|intent| !by_digest.contains(intent.digest.as_str()));
    let intents = unnamed.flat_map(|intent| {
        let document = verified(intent, node, history.keys).ok();
        let found = document.and_then(|document| {
            let later = named.iter().enumerate();
            let later = later.filter(|(_, later)| {
                later.published >= intent.at && later.body.serial > document.serial
            });
            let (place, next) = later.min_by_key(|(_, later)| later.verified)?;
            Some((document, place, next))
        });
        // With each cluster document that the node may have had by then.
        let each = found.into_iter().flat_map(|(document, place, next)| {
            let before = place.checked_sub(1).and_then(|place| named.get(place));
            let first = before.map_or(Serial::default(), |before| before.body.cluster_serial);
            let between = history.cluster.iter().filter(|(serial, cluster)| {
                (first..=next.body.cluster_serial).contains(serial) && may_join(&document, cluster)
            });
            let in_force = between.map(|(_, cluster)| InForce {
                released: false,
                published: intent.at.max(cluster.at),
                verified: next.verified,
                digest: intent.digest.clone(),
                body: joined(&document, cluster),
                document: Arc::clone(&document),
                ..next.clone()
            });
            in_force.collect::<Vec<_>>()
        });
        each.collect::<Vec<_>>()
    });
    let clusters = named.windows(2).flat_map(|pair| {
        let (before, next) = (&pair[0], &pair[1]);
        // The two themselves too: a new intent is joined with the cluster document of before until the next one comes.
        let between = history.cluster.iter().filter(|(serial, _)| {
            (before.body.cluster_serial..=next.body.cluster_serial).contains(serial)
        });
        // With the intent before, and with the next one once that was published.
        between.flat_map(move |(_, cluster)| {
            let at = |document: &NodeDocument| {
                let mut intents = published.iter();
                let same = |intent: &&&Published| {
                    verified(intent, node, history.keys)
                        .is_ok_and(|found| found.serial == document.serial)
                };
                intents.find(same).map(|intent| intent.at.max(cluster.at))
            };
            [before, next].map(|one| {
                // As it was named it is in the list. A release opens from its own time on and with no other document.
                let is_named = one.body.cluster_serial == cluster.document.serial;
                let may = !is_named && !one.released && may_join(&one.document, cluster);
                let published = at(&one.document).filter(|_| may)?;
                Some(InForce {
                    published,
                    verified: next.verified,
                    body: joined(&one.document, cluster),
                    ..one.clone()
                })
            })
        })
    });
    let clusters = clusters.flatten();
    intents.chain(clusters).collect()
}
