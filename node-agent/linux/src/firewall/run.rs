//! The runner around `nft`. The crate of that name leaves nft's error output to the agent's own, so this one pipes all
//! three, waits a bounded time and kills what does not end.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use postern_host::error::{HostCause, NftRefusal};
use postern_plan::ruleset::model::TABLE;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How long nft may take for a batch: a whole replace of 10 000 policies takes 13 s.
const BATCH: Duration = Duration::from_secs(60);
/// How long it may take for a listing: that of 10 000 policies takes about 4 s. Until it is over nothing is answered and
/// nothing repaired.
const LISTING: Duration = Duration::from_secs(20);

/// Gives nft a batch.
pub(super) async fn change(text: &str) -> Result<(), HostCause> {
    let output = nft(&["-f", "-"], text, BATCH).await?;
    if output.status.success() {
        Ok(())
    } else {
        Err(refusal(&output.stderr, text))
    }
}

/// The listing of our table of a family; none when there is no such table.
pub(super) async fn list(family: &str) -> Result<Option<Vec<u8>>, HostCause> {
    listed(&["-j", "list", "table", family, TABLE]).await
}

async fn listed(arguments: &[&str]) -> Result<Option<Vec<u8>>, HostCause> {
    let output = nft(arguments, "", LISTING).await?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    // `nft -j list table inet postern` without the table: `Error: No such file or directory`, exit code 1.
    if String::from_utf8_lossy(&output.stderr).contains("No such file or directory") {
        return Ok(None);
    }
    Err(refusal(&output.stderr, ""))
}

/// The listing of everything, of every family, without the elements of sets.
pub(crate) async fn list_everything() -> Result<Vec<u8>, HostCause> {
    let output = nft(&["-j", "-t", "list", "ruleset"], "", LISTING).await?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(refusal(&output.stderr, ""))
    }
}

/// Asks whether a batch would be taken; nothing is changed.
pub(crate) async fn rehearse(text: &str) -> Result<(), HostCause> {
    let output = nft(&["-c", "-f", "-"], text, BATCH).await?;
    if output.status.success() {
        Ok(())
    } else {
        Err(refusal(&output.stderr, text))
    }
}

async fn nft(arguments: &[&str], input: &str, limit: Duration) -> Result<Output, HostCause> {
    let mut command = Command::new("nft");
    command.args(arguments).env("LC_ALL", "C");
    talk(&mut command, input, limit).await
}

async fn talk(command: &mut Command, input: &str, limit: Duration) -> Result<Output, HostCause> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => HostCause::NoProgram { program: "nft" },
            _ => error.into(),
        })?;
    let stdin = child.stdin.take();
    let conversation = async {
        let fed = async {
            // nft may end before it has read everything; what it says about that is in its error output.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        tokio::join!(fed, child.wait_with_output()).1
    };
    match tokio::time::timeout(limit, conversation).await {
        Ok(output) => Ok(output?),
        Err(_) => Err(HostCause::TimedOut {
            seconds: limit.as_secs(),
        }),
    }
}

/// nft's first error with the line of the batch that it points to: `/dev/stdin:3:1-38: Error: Could not process rule:
/// No such file or directory`.
fn refusal(stderr: &[u8], batch: &str) -> HostCause {
    let text = String::from_utf8_lossy(stderr);
    let first = text
        .lines()
        .find(|line| line.contains("Error:"))
        .or_else(|| text.lines().next())
        .unwrap_or_default();
    let (place, error) = match first.split_once("Error: ") {
        Some((place, error)) => (place, error),
        None => ("", first),
    };
    let number: Option<usize> = place
        .split(':')
        .nth(1)
        .and_then(|number| number.parse().ok());
    let line = number
        .and_then(|number| batch.lines().nth(number.checked_sub(1)?))
        .map(str::to_owned);
    HostCause::Nft(Box::new(NftRefusal {
        error: error.to_owned(),
        line,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_end_is_given_up_at_its_own_limit() {
        let mut sleep = Command::new("sleep");
        let outcome = talk(sleep.arg("60"), "", Duration::from_secs(1)).await;
        assert_eq!(outcome, Err(HostCause::TimedOut { seconds: 1 }));
    }

    /// `printf 'add table inet postern\nadd rule inet postern nope accept\n' | nft -f -`, nft 1.0.6.
    #[test]
    fn points_to_the_line_that_the_kernel_refused() {
        let stderr = b"/dev/stdin:2:23-26: Error: No such file or directory\nadd rule inet postern nope accept\n    ^^^^\n";
        let batch = "add table inet postern\nadd rule inet postern nope accept\n";
        let HostCause::Nft(refusal) = refusal(stderr, batch) else {
            panic!("another cause")
        };
        assert_eq!(refusal.error, "No such file or directory");
        assert_eq!(
            refusal.line.as_deref(),
            Some("add rule inet postern nope accept")
        );
    }
}
