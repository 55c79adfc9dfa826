//! The machine as a page for people, `docs/state-machine.md`: the same tables that the agent runs, printed.

use std::fmt::Write as _;

use super::posture::Posture;
use super::state::StateKind;
use super::table::{Row, TABLE};

const INTRODUCTION: &str = "\
# The state machine of a scope

A scope is one policy-to-exit binding on one node, and it is always in one of these states. This page is printed from the \
table that the agent runs (`cargo run -p postern-plan --example write_state_machine`); a test compares it.

A pair of state and event that no row names leaves the state as it is. The first row that fits is taken. Every transition is \
one line of the state transition audit log.

";

const POSTURES: &str = "
## What may flow

What may flow in each state besides inside traffic, and how long a scope may stay before the agent says so in the audit log. A \
state without a time is one to rest in. `Open` in `FailedOpen` needs a signed body that allows it; a scope whose body says \
`Closed` never gets there.

";

const CAUSES: &str = "
`Blocked` carries why (`Expired`, `NoTunnel`, `NoGuard`, `ExitLost`, `ApplyFailed`, or the body's reason) and whether the guard \
was read back: \"blocked\" and \"could not block\" are never the same value.

";

/// The page: a diagram, the postures and times, and every row of [`TABLE`].
#[must_use]
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    diagram(&mut page);
    page.push_str(POSTURES);
    postures(&mut page);
    page.push_str(CAUSES);
    rows(&mut page);
    page
}

/// A mermaid diagram; events that lead from one state to the same other one share an arrow, so that it can be read.
fn diagram(page: &mut String) {
    page.push_str("```mermaid\nstateDiagram-v2\n    [*] --> Unclaimed\n");
    for from in StateKind::ALL {
        for to in StateKind::ALL {
            let events: Vec<String> = rows_from(from)
                .filter(|row| row.to == to && row.to != from)
                .map(|row| format!("{:?}", row.on))
                .collect();
            if !events.is_empty() {
                line(
                    page,
                    format_args!(
                        "    {} --> {}: {}",
                        from.word(),
                        to.word(),
                        events.join(", ")
                    ),
                );
            }
        }
    }
    page.push_str("```\n");
}

fn rows_from(from: StateKind) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(move |row| row.from.contains(&from))
}

fn postures(page: &mut String) {
    page.push_str("| state | posture | what may flow | seconds |\n|---|---|---|---|\n");
    for state in StateKind::ALL {
        let posture = Posture::of(state);
        let patience = state
            .patience()
            .map_or_else(String::new, |time| time.as_secs().to_string());
        let text = posture.to_string();
        let text = text
            .split_once(": ")
            .map_or(text.as_str(), |(_, text)| text);
        line(
            page,
            format_args!(
                "| `{}` | `{posture:?}` | {text} | {patience} |",
                state.word()
            ),
        );
    }
}

fn rows(page: &mut String) {
    page.push_str("## Every transition\n\n| from | event | to |\n|---|---|---|\n");
    for row in &TABLE {
        let from: Vec<String> = row
            .from
            .iter()
            .map(|state| format!("`{}`", state.word()))
            .collect();
        line(
            page,
            format_args!(
                "| {} | `{:?}` | `{}` |",
                from.join(", "),
                row.on,
                row.to.word()
            ),
        );
    }
}

/// Writing to a string does not fail.
fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(page, "{text}");
}
