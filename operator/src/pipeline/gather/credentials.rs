//! Secrets of external exits. The operator may get a Secret of its namespace by name and neither list nor watch them, so they
//! are read again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use postern_apiserver::{ApiVerb, within};
use postern_compile::publish::CredentialStore;
use postern_compile::snapshot::SnapshotExit;
use tracing::warn;

use crate::error::chain;

/// How old an answer may be.
const PERIOD: Duration = Duration::from_secs(15);

/// What is known of the Secrets that exits name.
#[derive(Default)]
pub(in crate::pipeline) struct KnownCredentials {
    by_name: BTreeMap<String, KnownSecret>,
}

/// One answer of the API server.
struct KnownSecret {
    /// None: it does not exist.
    secret: Option<Secret>,
    at: Instant,
}

impl KnownCredentials {
    /// Asks for what is not known, or not any more. Where the API server does not answer, what was known stays: an answer that
    /// is missing says nothing about the Secret.
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
        let mut store = CredentialStore::default();
        for name in named {
            let known = self.by_name.get(name);
            let is_fresh = known.is_some_and(|known| now.duration_since(known.at) < PERIOD);
            if !is_fresh {
                let what = format!("Secret {name}");
                match within(ApiVerb::Get, what, secrets.get_opt(name)).await {
                    Ok(secret) => {
                        let known = KnownSecret { secret, at: now };
                        self.by_name.insert(name.to_owned(), known);
                    }
                    Err(error) => warn!(
                        error = chain(&error),
                        secret = name,
                        "the credential of an exit cannot be read; what was known of it stays"
                    ),
                }
            }
            let known = self.by_name.get(name);
            if let Some(secret) = known.and_then(|known| known.secret.as_ref()) {
                store.add(name.to_owned(), secret);
            }
        }
        store
    }
}
