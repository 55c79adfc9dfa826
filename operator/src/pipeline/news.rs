//! The last step of a run: statuses, Events about what has none, and the ends of traces.

use std::collections::BTreeMap;

use postern_compile::Compilation;
use postern_compile::verdict::Verdict;
use postern_crds::conditions::Reason;

use super::MEMORY;
use super::error::PipelineError;
use super::gather::Problem;
use super::intents::{Loss, Standing};
use super::memory::{Loaded, UnwrittenPage};
use super::outcome::Outcome;
use super::report::{Notice, Regarding, Said, Tone, of_held, of_nodes};
use super::run::{Pipeline, Round};
use crate::controllers::Kind;
use crate::error::chain;
use crate::lease::LEASE;
use crate::metrics::gauge;
use crate::signer::{SignerError, TRUST};

/// News by name and what it is.
type News = BTreeMap<(String, String), Notice>;

/// Says everything.
pub(super) async fn report(
    pipeline: &mut Pipeline,
    round: &Round,
    compilation: &Compilation,
    verdicts: &[Verdict],
) -> Said {
    let Pipeline {
        parts,
        writer,
        herald,
        reporter,
        intents,
        memory,
        ..
    } = pipeline;
    intents.arrivals.end_traces(&parts.stores.reports);
    let said = reporter
        .report(writer, herald, &parts.stores, verdicts)
        .await;
    let tampered = round
        .standings
        .values()
        .filter(|standing| matches!(standing, Standing::Tampered { .. }))
        .count();
    parts.metrics.tampered.set(gauge(tampered));
    reporter.tell(herald, "nodes", of_nodes(verdicts));
    reporter.tell(herald, "held", of_held(&compilation.held));
    reporter.tell(herald, "intents", of_intents(round));
    let problems = of_problems(&round.world.inputs.problems);
    reporter.tell(herald, "problems", problems);
    let unwritten = of_unwritten(&parts.namespace, &memory.unwritten());
    reporter.tell(herald, "unwritten", unwritten);
    if round.loaded == Loaded::Damaged {
        let note = "the memory cannot be read; what is held waits for a person";
        let regarding = Regarding::core("ConfigMap", &parts.namespace, MEMORY);
        let notice = warning(regarding, Reason::Malformed, "Recall", note.to_owned());
        let news: News = [((MEMORY.to_owned(), String::new()), notice)].into();
        reporter.tell(herald, "memory", news);
    }
    said
}

/// Pages of the memory that the API server refuses.
fn of_unwritten(namespace: &str, pages: &[UnwrittenPage]) -> News {
    let mut news = News::new();
    for page in pages {
        let name = page.page.config_map();
        let regarding = Regarding::core("ConfigMap", namespace, &name);
        let first: Vec<&str> = page
            .namespaces
            .iter()
            .take(3)
            .map(|one| one.as_str())
            .collect();
        let note = format!(
            "the API server refuses it ({}). Policies of these namespaces stay enforced; after a change of the leading \
             operator a person approves what they would release: {} and {} more",
            page.why,
            first.join(", "),
            page.namespaces.len() - first.len()
        );
        let notice = warning(regarding, Reason::NotDurable, "Remember", note);
        news.insert((name, String::new()), notice);
    }
    news
}

/// Says that nothing can be signed, as long as that lasts.
pub(super) fn of_end(pipeline: &mut Pipeline, ran: &Result<Outcome, PipelineError>) {
    let lost = match ran {
        Err(PipelineError::Signer(problem)) if !matches!(problem, SignerError::Api(_)) => {
            Some(chain(problem))
        }
        Err(_) | Ok(Outcome::Idle(_)) => return,
        Ok(_) => None,
    };
    let regarding = Regarding {
        api_version: "coordination.k8s.io/v1".to_owned(),
        kind: "Lease".to_owned(),
        namespace: Some(pipeline.parts.namespace.clone()),
        name: LEASE.to_owned(),
        uid: None,
    };
    let news: News = lost
        .map(|note| {
            let notice = warning(regarding, Reason::SigningKeyLost, "Sign", note);
            ((LEASE.to_owned(), String::new()), notice)
        })
        .into_iter()
        .collect();
    let Pipeline {
        herald, reporter, ..
    } = pipeline;
    reporter.tell(herald, "signer", news);
}

/// Says that somebody had changed the trust root.
pub(super) fn of_trust(pipeline: &Pipeline) {
    let regarding = Regarding::core("ConfigMap", &pipeline.parts.namespace, TRUST);
    let note = "it said something else than the signing keys and is put right";
    let notice = warning(regarding, Reason::Repaired, "Trust", note.to_owned());
    pipeline.herald.tell(notice);
}

fn warning(regarding: Regarding, reason: Reason, action: &str, note: String) -> Notice {
    Notice {
        regarding,
        tone: Tone::Warning,
        reason: reason.to_string(),
        action: action.to_owned(),
        note,
    }
}

/// Intents that somebody deleted or changed.
fn of_intents(round: &Round) -> News {
    let mut news = News::new();
    for (node, standing) in &round.standings {
        let (reason, note) = match standing {
            Standing::Lost { why, .. } => match why {
                Loss::Deleted => (
                    Reason::Repaired,
                    "it was deleted; the same bytes are published again".to_owned(),
                ),
                Loss::Older => (
                    Reason::Replayed,
                    "an older document stood there; the newer one is published again".to_owned(),
                ),
                Loss::Changed(why) => (
                    *why,
                    format!(
                        "{} The same bytes as before are published again.",
                        why.sentence()
                    ),
                ),
            },
            Standing::Tampered { why } => (
                *why,
                format!(
                    "{} Nobody remembers what stood there; nothing is published for the node until a person approves.",
                    why.sentence()
                ),
            ),
            Standing::Current { .. } | Standing::Absent | Standing::Lagging => continue,
        };
        let regarding = Regarding::own("NodeIntent", None, node.as_str(), None);
        news.insert(
            (node.to_string(), reason.to_string()),
            warning(regarding, reason, "Verify", note),
        );
    }
    news
}

/// Objects that cannot be read.
fn of_problems(problems: &[Problem]) -> News {
    let mut news = News::new();
    for problem in problems {
        let (api_version, kind) = match problem.kind {
            Kind::Node | Kind::Pod | Kind::Namespace | Kind::Service | Kind::ConfigMap => {
                ("v1", problem.kind.as_str())
            }
            other => (postern_crds::names::API_VERSION, other.as_str()),
        };
        let regarding = Regarding {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: problem.namespace.clone(),
            name: problem.name.clone(),
            uid: problem.uid.clone(),
        };
        let key = (
            format!(
                "{kind} {} {}",
                problem.namespace.clone().unwrap_or_default(),
                problem.name
            ),
            problem.what.clone(),
        );
        let note = format!("it cannot be read and counts as refused: {}", problem.what);
        news.insert(key, warning(regarding, Reason::Invalid, "Read", note));
    }
    news
}
