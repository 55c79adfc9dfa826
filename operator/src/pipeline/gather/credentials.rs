//! Secrets of external exits. The operator may get a Secret of its namespace by name and neither list nor watch them, so they
//! are read again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use postern_apiserver::{ApiError, ApiVerb, within};
use postern_compile::publish::CredentialStore;
use postern_compile::snapshot::SnapshotExit;
use tracing::warn;

use crate::error::chain;

/// How old an answer may be.
const PERIOD: Duration = Duration::from_secs(15);

/// The Secrets that exits name, as they were read last.
#[derive(Default)]
pub(in crate::pipeline) struct KnownCredentials {
    by_name: BTreeMap<String, KnownSecret>,
}

/// What the API server answered last.
struct KnownSecret {
    answer: SecretAnswer,
    /// When it was asked last, also in vain: a Secret that cannot be read delays one run in each period and no more.
    at: Instant,
}

enum SecretAnswer {
    /// It never answered.
    Unread,
    Absent,
    There(Box<Secret>),
}

impl KnownCredentials {
    /// Reads the Secrets that were not read within the period. Without an answer the last one stays: a missing answer
    /// is no news of the Secret.
    pub(super) async fn read(
        &mut self,
        client: &Client,
        namespace: &str,
        exits: &[SnapshotExit],
        now: Instant,
    ) -> CredentialStore {
        let terms = exits.iter().filter_map(|exit| exit.terms.as_ref().ok());
        let named = terms.filter_map(|terms| Some(terms.external.as_ref()?.secret.as_str()));
        let named: Vec<&str> = named.collect();
        self.by_name
            .retain(|name, _| named.contains(&name.as_str()));
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let is_stale = |name: &&str| {
            let known = self.by_name.get(*name);
            known.is_none_or(|known| now.duration_since(known.at) >= PERIOD)
        };
        let stale: Vec<&str> = named.iter().copied().filter(is_stale).collect();
        // At the same time: each has a deadline of its own, and the run waits for the slowest one only.
        let secrets = &secrets;
        let asked = stale.into_iter().map(|name| async move {
            let got = secrets.get_opt(name);
            let what = format!("Secret {name}");
            (name.to_owned(), within(ApiVerb::Get, what, got).await)
        });
        for (name, got) in join_all(asked).await {
            self.note(&name, got, now);
        }
        self.store(&named)
    }

    fn note(&mut self, name: &str, got: Result<Option<Secret>, ApiError>, now: Instant) {
        let known = self.by_name.entry(name.to_owned()).or_insert(KnownSecret {
            answer: SecretAnswer::Unread,
            at: now,
        });
        known.at = now;
        match got {
            Ok(Some(secret)) => known.answer = SecretAnswer::There(Box::new(secret)),
            Ok(None) => known.answer = SecretAnswer::Absent,
            Err(error) => warn!(
                error = chain(&error),
                secret = name,
                "the credential of an exit cannot be read; what was known of it stays"
            ),
        }
    }

    fn store(&self, named: &[&str]) -> CredentialStore {
        let mut store = CredentialStore::default();
        for name in named {
            match self.by_name.get(*name).map(|known| &known.answer) {
                Some(SecretAnswer::There(secret)) => store.add((*name).to_owned(), secret),
                Some(SecretAnswer::Absent) => {}
                Some(SecretAnswer::Unread) | None => store.note_unread((*name).to_owned()),
            }
        }
        store
    }
}
