//! How long the flows of a sender went without an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_host_testing::patience;
use serde::{Deserialize, Serialize};

use crate::lab::traffic::send::{Heard, Line};

/// A time in which a flow had no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    pub length: SignedDuration,
    /// For how long tasks stood in line for a processor in the seconds that it touches.
    pub stalled: SignedDuration,
}

impl Silence {
    /// Is it longer than this, apart from the time in which tasks stood in line?
    #[must_use]
    pub fn exceeds(&self, bound: Duration) -> bool {
        patience::is_over(
            bound,
            self.length.unsigned_abs(),
            self.stalled.unsigned_abs(),
        )
    }
}

/// All silences of each flow since a time: before the first answer, between two, and after the last one up to the end of
/// the last line.
pub(super) fn silences(lines: &[Line], since: Timestamp) -> BTreeMap<String, Vec<Silence>> {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.at > since).collect();
    let flows: BTreeSet<&String> = lines.iter().flat_map(|line| line.flows.keys()).collect();
    let of = |flow: &String| {
        let heard = lines.iter().map(|line| {
            let tally = line.flows.get(flow);
            (*line, tally.and_then(|tally| tally.heard))
        });
        (flow.clone(), of_a_flow(heard, since))
    };
    flows.into_iter().map(of).collect()
}

fn of_a_flow<'a>(
    lines: impl Iterator<Item = (&'a Line, Option<Heard>)>,
    since: Timestamp,
) -> Vec<Silence> {
    let mut found = Vec::new();
    let mut last = since;
    // The pressure of the seconds since the one with the last answer, that one included.
    let mut stalled = SignedDuration::ZERO;
    let mut end = since;
    for (line, heard) in lines {
        stalled += line.stalled;
        end = line.at;
        let Some(heard) = heard.filter(|heard| heard.last > since) else {
            continue;
        };
        let first = heard.first.max(last);
        found.push(Silence {
            length: first.duration_since(last),
            stalled,
        });
        found.push(Silence {
            length: heard.pause,
            stalled: line.stalled,
        });
        last = heard.last;
        stalled = line.stalled;
    }
    found.push(Silence {
        length: end.duration_since(last),
        stalled,
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::traffic::send::Tally;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + milliseconds).unwrap()
    }

    /// A second that ended then, with the first and the last answer, the longest pause between them, and the pressure.
    fn line(end: i64, heard: Option<(i64, i64, i64)>, stalled: i64) -> Line {
        let heard = heard.map(|(first, last, pause)| Heard {
            first: at(first),
            last: at(last),
            pause: SignedDuration::from_millis(pause),
        });
        let tally = Tally {
            heard,
            ..Tally::default()
        };
        Line {
            from: at(end - 1000),
            at: at(end),
            stalled: SignedDuration::from_millis(stalled),
            flows: [("udp4".to_owned(), tally)].into(),
        }
    }

    fn found(lines: &[Line], since: i64) -> Vec<(i128, i128)> {
        let found = silences(lines, at(since)).remove("udp4").unwrap();
        let numbers = |one: Silence| (one.length.as_millis(), one.stalled.as_millis());
        found.into_iter().map(numbers).collect()
    }

    #[test]
    fn a_silence_over_seconds_without_an_answer_counts_from_the_last_one_before_it() {
        let lines = [
            line(1000, Some((10, 700, 30)), 5),
            line(2000, None, 100),
            line(3000, Some((2400, 2990, 20)), 7),
        ];
        let wanted = [(0, 5), (30, 5), (1700, 112), (20, 7), (10, 7)];
        assert_eq!(found(&lines, 10), wanted);
    }

    #[test]
    fn a_flow_that_never_comes_back_is_silent_to_the_end() {
        let lines = [line(1000, Some((10, 300, 5)), 0), line(2000, None, 3)];
        let silent = found(&lines, 500);
        assert_eq!(silent, [(1500, 3)], "the answers came before the event");
    }

    #[test]
    fn only_time_in_line_excuses_a_silence() {
        let silence = |length, stalled| Silence {
            length: SignedDuration::from_millis(length),
            stalled: SignedDuration::from_millis(stalled),
        };
        let bound = Duration::from_millis(300);
        assert!(!silence(300, 0).exceeds(bound));
        assert!(silence(400, 50).exceeds(bound));
        assert!(!silence(400, 150).exceeds(bound));
    }
}
