//! Hostile inputs for parsers: those of a corpus, and changes of them. The seed of a run repeats it (`POSTERN_SEED`);
//! `POSTERN_FUZZ_SECONDS` makes it longer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::generate::{Dice, seed};

/// How long a run lasts by default.
const SECONDS: u64 = 2;
/// Changed inputs that are given at least, however slow the machine is.
const LEAST: u64 = 100;
/// Changes of one input, at most.
const CHANGES: usize = 6;
/// A parser that takes so long for one input hangs, also on a machine under load.
const LONGEST: Duration = Duration::from_secs(60);
/// Bytes that parsers look for.
const MARKS: &[u8] = b"\0\xff\xc0\x0c\x3f\x7f\x80\"\\{}[],:-0\n";
/// Numbers at the ends of what a field can hold.
const NUMBERS: [f64; 8] = [
    0.0,
    -1.0,
    1.0,
    255.0,
    65_536.0,
    4_294_967_296.0,
    1e19,
    1e308,
];
/// Texts that are no name, address or number.
const TEXTS: [&str; 8] = [
    "",
    "/",
    "../..",
    "\u{0}",
    "\u{202e}",
    "::ffff:0.0.0.0/129",
    "0.0.0.0/0",
    "-",
];

/// What an input is made of: JSON is changed as a value too, so that most of it is still read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputForm {
    Bytes,
    Json,
}

/// Inputs that a parser takes, or once failed at.
#[derive(Debug)]
pub struct Corpus(Vec<Vec<u8>>);

/// Prints the input when a parser panics.
struct CurrentInput<'a>(&'a [u8]);

impl Drop for CurrentInput<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: \"{}\"", self.0.escape_ascii());
        }
    }
}

/// Looks from another thread whether an input is still being read.
struct Watchdog(Arc<Mutex<WatchedInput>>);

#[derive(Default)]
struct WatchedInput {
    current: Option<(Instant, Vec<u8>)>,
    is_over: bool,
}

impl Watchdog {
    fn start() -> Self {
        let watched = Arc::<Mutex<WatchedInput>>::default();
        let seen = Arc::clone(&watched);
        std::thread::spawn(move || {
            while let Some(current) = Self::look(&seen) {
                if let Some((since, input)) = current
                    && since.elapsed() > LONGEST
                {
                    // Not `eprintln!`: a test's output is held back, and lost by `exit`.
                    let input = input.escape_ascii();
                    let _ = writeln!(std::io::stderr(), "a parser hangs at \"{input}\"");
                    std::process::exit(1);
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Self(watched)
    }

    /// None: the run is over.
    fn look(watched: &Mutex<WatchedInput>) -> Option<Option<(Instant, Vec<u8>)>> {
        let watched = watched.lock().unwrap();
        (!watched.is_over).then(|| watched.current.clone())
    }

    fn sees(&self, input: Option<&[u8]>) {
        let current = input.map(|input| (Instant::now(), input.to_vec()));
        self.0.lock().unwrap().current = current;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.lock().unwrap().is_over = true;
    }
}

impl Corpus {
    /// The files of a folder, in the order of their names.
    pub fn read(folder: &Path) -> Self {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{}", folder.display());
        Self(
            paths
                .iter()
                .map(|path| std::fs::read(path).unwrap())
                .collect(),
        )
    }

    /// Inputs that a test makes itself.
    pub const fn of(inputs: Vec<Vec<u8>>) -> Self {
        Self(inputs)
    }

    /// Gives each input as it is and then changed ones until the time is over. An input at which the parser hangs is printed, and
    /// ends the program.
    pub fn feed(&self, form: InputForm, mut take: impl FnMut(&[u8])) {
        let seconds = std::env::var("POSTERN_FUZZ_SECONDS").ok();
        let seconds = seconds.and_then(|text| text.parse().ok());
        let lasts = Duration::from_secs(seconds.unwrap_or(SECONDS));
        let mut dice = Dice::new(seed());
        let began = Instant::now();
        let watchdog = Watchdog::start();
        let mut give = |input: &[u8]| {
            let current = CurrentInput(input);
            watchdog.sees(Some(input));
            take(input);
            watchdog.sees(None);
            drop(current);
        };
        self.0.iter().for_each(|input| give(input));
        let mut changed = 0_u64;
        while began.elapsed() < lasts || changed < LEAST {
            give(&self.changed(form, &mut dice));
            changed += 1;
        }
        println!("{changed} changed inputs");
    }

    fn changed(&self, form: InputForm, dice: &mut Dice) -> Vec<u8> {
        let input = dice.of::<Vec<u8>>(&self.0);
        let value = (form == InputForm::Json && !dice.one_in(4))
            .then(|| serde_json::from_slice::<Value>(input).ok())
            .flatten();
        if let Some(mut value) = value {
            for _ in 0..=dice.below(CHANGES) {
                let mut place = dice.below(nodes(&value));
                change_node(&mut value, &mut place, dice);
            }
            return serde_json::to_vec(&value).unwrap();
        }
        let mut bytes = input.clone();
        for _ in 0..=dice.below(CHANGES) {
            let other = dice.of::<Vec<u8>>(&self.0);
            change_bytes(&mut bytes, other, dice);
        }
        bytes
    }
}

fn change_bytes(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = (at + dice.below(9)).min(bytes.len());
    match dice.below(7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.insert(at, *dice.of(MARKS)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => {
            let from = dice.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        5 if at < bytes.len() => bytes[at] = *dice.of(MARKS),
        _ if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        _ => {}
    }
}

/// Values in a value, itself among them.
fn nodes(value: &Value) -> usize {
    let below: usize = match value {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum(),
        _ => 0,
    };
    1 + below
}

/// Changes the value at a place, counted from above.
fn change_node(value: &mut Value, place: &mut usize, dice: &mut Dice) {
    if *place == 0 {
        *value = other_value(value, dice);
        return;
    }
    *place -= 1;
    let below: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    for one in below {
        let size = nodes(one);
        if *place < size {
            return change_node(one, place, dice);
        }
        *place -= size;
    }
}

fn other_value(value: &Value, dice: &mut Dice) -> Value {
    match (dice.below(8), value) {
        (0, _) => Value::Null,
        (1, _) => Value::from(*dice.of(&NUMBERS)),
        (2, _) => Value::from(dice.number()),
        (3, _) => Value::from(dice.text(&TEXTS)),
        (4, _) => Value::from(vec![value.clone(); dice.below(3)]),
        (5, _) => Value::Object(Map::from_iter([("set".to_owned(), value.clone())])),
        (6, Value::Object(map)) => {
            let gone = dice.below(map.len() + 1);
            let kept = map.iter().enumerate().filter(|(at, _)| *at != gone);
            kept.map(|(_, (key, one))| (key.clone(), one.clone()))
                .collect()
        }
        (6, Value::Array(list)) => {
            let mut list = list.clone();
            list.reverse();
            list.truncate(dice.below(list.len() + 1));
            list.into()
        }
        (_, Value::String(text)) => {
            let mut bytes = text.clone().into_bytes();
            let other = bytes.clone();
            change_bytes(&mut bytes, &other, dice);
            String::from_utf8_lossy(&bytes).into_owned().into()
        }
        (_, Value::Number(number)) => {
            let number = number.as_u64().unwrap_or_default();
            Value::from(number ^ (1 << dice.below(40)))
        }
        _ => Value::Bool(dice.one_in(2)),
    }
}
