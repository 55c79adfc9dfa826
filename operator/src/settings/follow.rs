//! A mounted ConfigMap changes under the program: the file is read again, and a bad one takes nothing away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use super::file::{SettingsError, parse};
use super::known::KnownSettings;
use crate::error::chain;

/// How often the file is looked at. The kubelet itself needs up to a minute to update it.
const PERIOD: Duration = Duration::from_secs(5);

/// Sends the settings whenever the file says something else, and why a file is refused; never returns.
pub async fn follow(path: PathBuf, known: watch::Sender<KnownSettings>) {
    let mut last = tokio::fs::read_to_string(&path).await.ok();
    loop {
        tokio::time::sleep(PERIOD).await;
        let text = tokio::fs::read_to_string(&path).await;
        if text.as_ref().ok() == last.as_ref() {
            continue;
        }
        let read = match &text {
            Ok(text) => parse(text),
            Err(error) => Err(SettingsError::unreadable(&path, error)),
        };
        known.send_if_modified(|known| next(known, read, &path));
        last = text.ok();
    }
}

/// Takes what was read; whether that is news.
fn next(
    known: &mut KnownSettings,
    read: Result<postern_compile::snapshot::CompilerSettings, SettingsError>,
    path: &Path,
) -> bool {
    let before = known.clone();
    match read {
        Ok(settings) => {
            info!(path = %path.display(), "the settings changed");
            *known = settings.into();
        }
        Err(problem) => {
            let why = chain(&problem);
            error!(path = %path.display(), error = why, "the settings are refused, and those of before stay in force");
            known.refused = Some(Arc::from(why));
        }
    }
    *known != before
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::parse;
    use super::super::known::KnownSettings;
    use super::next;

    #[test]
    fn a_refused_file_leaves_the_settings_in_force_and_says_why_until_one_is_accepted() {
        let path = Path::new("settings.yaml");
        let mut known: KnownSettings = parse("validity: 2h").expect("settings").into();
        let in_force = known.in_force.clone();
        assert!(next(&mut known, parse("lifetime: 3h"), path));
        assert_eq!(known.in_force, in_force);
        let why = known.refused.clone().expect("a refusal");
        assert!(why.contains("lifetime"), "{why}");
        assert!(!next(&mut known, parse("lifetime: 4h"), path));
        assert!(next(&mut known, parse("validity: 2h"), path));
        assert_eq!((known.refused, known.in_force), (None, in_force));
    }
}
