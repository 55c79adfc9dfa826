//! The start of the program on a node whose files cannot be used. Paths below a file cannot be made by anybody, root neither.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use std::path::Path;

use clap::Parser as _;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use postern_agent::options::{Cli, Verb};
use postern_agent::records::RecordMetrics;
use tokio::time::Instant;

use super::export::export_records;
use super::*;

/// A file for everything that a start needs, each of which can be put in a place that cannot be used.
const PLACES: [&str; 4] = ["state-dir", "run-dir", "audit-log", "trust-dir"];

fn arguments(folder: &Path, blocked: &[&str]) -> RunArgs {
    let file = folder.join("a-file");
    std::fs::write(&file, "").unwrap();
    let place = |name: &str| {
        let folder = if blocked.contains(&name) {
            &file
        } else {
            folder
        };
        format!("--{name}={}", folder.join(name).display())
    };
    let mut words = vec![
        "postern-agent".to_owned(),
        "run".to_owned(),
        "--node-name=n1".to_owned(),
        "--node-uid=u1".to_owned(),
        format!("--intents={}", folder.join("intents").display()),
        format!("--report={}", folder.join("report.json").display()),
    ];
    words.extend(PLACES.map(place));
    match Cli::try_parse_from(words).unwrap().verb {
        Verb::Run(args) => *args,
        other => unreachable!("{other:?}"),
    }
}

/// Everything that a start opens before it seals, and what it says of that.
fn opened(args: &RunArgs) -> Vec<StartDamage> {
    let mut damages = make_folders(args);
    let (ledger, _) = Ledger::open(&args.state_dir);
    open_files(args, &ledger, &mut damages).unwrap();
    drop(serve_socket(args, &mut damages));
    damages
}

#[tokio::test]
async fn what_cannot_be_used_at_a_start_is_told_by_a_condition_and_ends_no_start() {
    use ConditionType::{Accepted, Programmed, SourceBinding};
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trust-dir");
    std::fs::create_dir(&trusted).unwrap();
    let key = SigningKey::from_bytes(&[5; 32]).verifying_key();
    let pem = key.to_public_key_pem(LineEnding::LF).unwrap();
    std::fs::write(trusted.join("key.pem"), pem).unwrap();
    assert_eq!(opened(&arguments(folder.path(), &[])), Vec::new());
    for (blocked, expected) in [
        (
            "state-dir",
            &[
                (Programmed, Reason::NotDurable, "state-dir"),
                (Programmed, Reason::NoPeerKey, "wireguard.key"),
                (Programmed, Reason::NoCredentialKey, "credentials.key"),
                (SourceBinding, Reason::Unbound, "bindings.json"),
            ][..],
        ),
        (
            "run-dir",
            &[
                (Programmed, Reason::NotDurable, "run-dir"),
                (SourceBinding, Reason::NoPlugin, "agent.sock"),
            ],
        ),
        (
            "audit-log",
            &[(Programmed, Reason::ApplyFailed, "audit-log")],
        ),
        ("trust-dir", &[(Accepted, Reason::EmptyKeySet, "trust-dir")]),
    ] {
        let damages = opened(&arguments(folder.path(), &[blocked]));
        let found: Vec<_> = damages
            .iter()
            .map(|damage| (damage.condition, damage.reason))
            .collect();
        let kinds: Vec<_> = expected
            .iter()
            .map(|(kind, reason, _)| (*kind, *reason))
            .collect();
        assert_eq!(found, kinds, "{blocked}: {damages:?}");
        for (damage, (_, _, word)) in damages.iter().zip(expected) {
            assert!(damage.message.contains(word), "{word}: {damage:?}");
        }
    }
    // All of it at once.
    assert_eq!(opened(&arguments(folder.path(), &PLACES)).len(), 8);
}

#[tokio::test]
async fn a_collector_that_cannot_be_named_is_told_by_a_condition_and_none_is_asked_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = arguments(folder.path(), &[]);
    let mut exported = |address: Option<&str>| {
        args.otlp_endpoint = address.map(ToOwned::to_owned);
        let mut damages = Vec::new();
        let (queue, task) = export_records(&args, &RecordMetrics::default(), &mut damages);
        assert_eq!(queue.is_some(), task.is_some());
        (queue.is_some(), damages)
    };
    assert_eq!(exported(None), (false, Vec::new()));
    assert_eq!(exported(Some("http://192.0.2.1:4317")), (true, Vec::new()));
    let (is_there, damages) = exported(Some("https://192.0.2.1:4317"));
    assert!(!is_there);
    let [damage] = &damages[..] else {
        panic!("{damages:?}");
    };
    assert_eq!(
        (damage.condition, damage.reason),
        (ConditionType::Programmed, Reason::ApplyFailed)
    );
    assert!(damage.message.contains("https://192.0.2.1:4317"));
}

#[tokio::test(start_paused = true)]
async fn what_the_checks_of_the_host_find_is_told_at_once_and_again_within_a_minute_where_it_changed()
 {
    const OFF: &str = "br_netfilter: off";
    // What each look finds, one after the other.
    let mut finds = [&[][..], &[], &[OFF], &[OFF], &[]].into_iter();
    let look = async move || {
        let found = finds.next().unwrap_or_default().iter();
        found.map(|text| (*text).to_owned()).collect()
    };
    let (sender, mut updates) = mpsc::channel(1);
    let begun = Instant::now();
    let told = tokio::spawn(tell_findings(look, sender));
    for (minute, expected) in [(0, &[][..]), (2, &[OFF]), (4, &[])] {
        match updates.recv().await {
            Some(NodeUpdate::Preflight(found)) => assert_eq!(found, expected),
            other => panic!("{other:?}"),
        }
        assert_eq!(begun.elapsed(), PREFLIGHT_PACE * minute);
    }
    assert!(PREFLIGHT_PACE <= Duration::from_secs(60));
    drop(updates);
    told.await.unwrap();
}
