//! A mounted ConfigMap changes under the program: the file is read again, and a bad one takes nothing away.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postern_compile::snapshot::Settings;
use tokio::sync::watch;
use tracing::{error, info};

use super::file::parse;
use crate::error::chain;

/// How often the file is looked at. The kubelet itself needs up to a minute to update it.
const PERIOD: Duration = Duration::from_secs(5);

/// Sends the settings whenever the file says something else; never returns.
pub async fn follow(path: PathBuf, known: watch::Sender<Arc<Settings>>) {
    let mut last = tokio::fs::read_to_string(&path).await.ok();
    loop {
        tokio::time::sleep(PERIOD).await;
        let Ok(text) = tokio::fs::read_to_string(&path).await else {
            continue;
        };
        if last.as_ref() == Some(&text) {
            continue;
        }
        match parse(&text) {
            Ok(settings) => {
                info!(path = %path.display(), "the settings changed");
                known.send_replace(Arc::new(settings));
            }
            Err(problem) => {
                error!(path = %path.display(), error = chain(&problem), "the settings cannot be read, and those of before stay");
            }
        }
        last = Some(text);
    }
}
