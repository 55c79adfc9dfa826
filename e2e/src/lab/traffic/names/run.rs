//! The threads that ask, hear, connect and count.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use serde::{Deserialize, Serialize};

use crate::lab::LabError;
use crate::lab::traffic::names::connect::Connecting;
use crate::lab::traffic::names::number::Asked;

/// After the last question: clients give up after 5 s (resolv.conf(5)).
const LATE: Duration = Duration::from_secs(5);
/// Connections that are waited for at a time.
const WAITING: usize = 64;

/// Which names to ask for, and how fast.
#[derive(Clone, Debug, Args)]
pub struct NamesArgs {
    /// The server's address; $RESOLVER without it.
    #[arg(long, env = "RESOLVER")]
    pub server: IpAddr,
    /// How many names to ask for. Two of ten have no address that the policy of the cases allows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub count: u32,
    /// Questions in a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
}

/// What became of all names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamesOutcome {
    pub asked: u32,
    /// Answers with the address of an allowed name.
    pub answered: u32,
    /// Answers without an address for names that have none, or none that may be brought.
    pub refused: u32,
    /// Answers without an address for allowed names.
    pub failed: u32,
    /// Questions without an answer.
    pub unanswered: u32,
    /// Answers with an address that the name does not lead to, or that no answer may bring.
    pub unfiltered: Vec<String>,
    /// Connections to the address of an answer that were answered.
    pub connected: u32,
    /// Those that were not, with the reason.
    pub not_connected: Vec<String>,
    /// Connections to addresses that no answer has named, all of which have to fail.
    pub others: u32,
    pub others_connected: Vec<String>,
    /// The longest time between two answers with an address.
    pub longest_silence_ms: u128,
    /// From question to answer, of the answers with an address.
    pub median_us: u128,
    pub p99_us: u128,
}

/// The outcome as one line of JSON.
///
/// # Errors
/// When the server cannot be asked at all.
pub fn report(args: &NamesArgs) -> Result<String, LabError> {
    serde_json::to_string(&names(args)?).map_err(LabError::json("the outcome of names"))
}

/// Asks for all names and waits until each question and each connection has ended.
///
/// # Errors
/// When the server cannot be asked at all.
fn names(args: &NamesArgs) -> Result<NamesOutcome, LabError> {
    let server = SocketAddr::new(args.server, 53);
    let any: IpAddr = match server {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0_u16; 8].into(),
    };
    let open = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(socket)
    };
    let socket = open().map_err(LabError::file("ask", server.to_string()))?;
    let run = Run {
        socket,
        sent: Mutex::default(),
        outcome: Mutex::default(),
    };
    let (attempts, begun) = channel();
    let begun = Mutex::new(begun);
    std::thread::scope(|scope| {
        for _ in 0..WAITING {
            scope.spawn(|| run.conclude(&begun));
        }
        let hearer = &run;
        // The sender ends with this thread, and after it the threads that wait for connections.
        scope.spawn(move || hearer.hear(args.count, &attempts));
        run.ask(args);
    });
    Ok(run
        .outcome
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

/// What the threads share.
struct Run {
    socket: UdpSocket,
    /// When each question was sent, by number.
    sent: Mutex<Vec<Instant>>,
    outcome: Mutex<NamesOutcome>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    fn ask(&self, args: &NamesArgs) {
        let (began, every) = (Instant::now(), Duration::from_secs(1) / args.rate);
        for number in 0..args.count {
            std::thread::sleep((began + every * number).saturating_duration_since(Instant::now()));
            lock(&self.sent).push(Instant::now());
            lock(&self.outcome).asked += 1;
            if let Some(query) = query(number) {
                // An ICMP error of an earlier question comes up here: no program listened, and this one is lost too.
                let _ = self.socket.send(&query);
            }
        }
    }

    fn hear(&self, count: u32, attempts: &Sender<Connecting>) {
        let mut buffer = vec![0; 65_535];
        let (mut heard, mut last) = (BTreeSet::new(), None);
        let mut times = Vec::new();
        while heard.len() < usize::try_from(count).unwrap_or(usize::MAX) {
            let sent = lock(&self.sent).len();
            let is_last = u32::try_from(sent).is_ok_and(|sent| sent == count);
            if is_last
                && lock(&self.sent)
                    .last()
                    .is_some_and(|sent| sent.elapsed() > LATE)
            {
                break;
            }
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let answer = buffer
                .get(..length)
                .and_then(|bytes| Message::from_vec(bytes).ok());
            let Some(answer) = answer.filter(|answer| heard.insert(answer.metadata.id)) else {
                continue;
            };
            let Some(address) = self.judge(&answer) else {
                continue;
            };
            let number = u32::from(answer.metadata.id);
            for attempt in Connecting::pair(number, address) {
                // The receiver ends only after the last connection.
                let _ = attempts.send(attempt);
            }
            let now = Instant::now();
            let asked = lock(&self.sent)
                .get(usize::from(answer.metadata.id))
                .copied();
            times.extend(asked.map(|asked| now.duration_since(asked).as_micros()));
            let silence = now.duration_since(last.replace(now).unwrap_or(now));
            let mut outcome = lock(&self.outcome);
            outcome.longest_silence_ms = outcome.longest_silence_ms.max(silence.as_millis());
        }
        self.sum_up(count, heard.len(), times);
    }

    fn sum_up(&self, count: u32, heard: usize, mut times: Vec<u128>) {
        times.sort_unstable();
        let at = |percent| {
            times
                .get(times.len() * percent / 100)
                .copied()
                .unwrap_or_default()
        };
        let mut outcome = lock(&self.outcome);
        outcome.unanswered = count - u32::try_from(heard).unwrap_or(count);
        (outcome.median_us, outcome.p99_us) = (at(50), at(99));
    }

    /// Counts an answer; the address, where it has the one that the name leads to.
    fn judge(&self, answer: &Message) -> Option<IpAddr> {
        let asked = Asked::of(answer.metadata.id.into());
        let records = answer.answers.iter().map(|record| &record.data);
        let addresses: Vec<IpAddr> = records.filter_map(address).collect();
        let mut outcome = lock(&self.outcome);
        match (asked.allowed, addresses.as_slice()) {
            (Some(wanted), [address]) if *address == wanted => {
                outcome.answered += 1;
                return Some(wanted);
            }
            (Some(_), []) => outcome.failed += 1,
            (None, []) if answer.metadata.response_code != ResponseCode::NoError => {
                outcome.refused += 1;
            }
            _ => outcome
                .unfiltered
                .push(format!("{}: {answer:?}", asked.name)),
        }
        None
    }

    fn conclude(&self, begun: &Mutex<Receiver<Connecting>>) {
        loop {
            let next = lock(begun).recv();
            let Ok(attempt) = next else { return };
            let (to, is_other) = (attempt.to, attempt.is_other);
            let ended = attempt.end();
            let mut outcome = lock(&self.outcome);
            match (is_other, ended) {
                (false, Ok(())) => outcome.connected += 1,
                (false, Err(error)) => outcome.not_connected.push(format!("{to}: {error}")),
                (true, Ok(())) => outcome.others_connected.push(to.to_string()),
                (true, Err(_)) => {}
            }
            outcome.others += u32::from(is_other);
        }
    }
}

fn query(number: u32) -> Option<Vec<u8>> {
    let asked = Asked::of(number);
    let mut query = Message::query();
    query.metadata.id = u16::try_from(number).ok()?;
    query.metadata.recursion_desired = true;
    let kind = match asked.allowed {
        Some(IpAddr::V6(_)) => RecordType::AAAA,
        _ => RecordType::A,
    };
    query.add_query(Query::query(Name::from_ascii(asked.name).ok()?, kind));
    query.to_vec().ok()
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(four) => Some(four.0.into()),
        RData::AAAA(six) => Some(six.0.into()),
        _ => None,
    }
}
