//! The verb `send`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use postern_host_testing::patience;

use crate::lab::LabError;
use crate::lab::traffic::send::flow::Flow;
use crate::lab::traffic::send::{Line, Tally, echo, ping};

/// What to send, and where to.
#[derive(Clone, Debug, Args)]
pub struct SendArgs {
    /// Destination addresses: $WORLD and $WORLD6 without any.
    #[arg(long)]
    pub to: Vec<IpAddr>,
    /// Protocols; all without any.
    #[arg(long, short, value_delimiter = ',')]
    pub protocol: Vec<Protocol>,
    /// Time between two packets of a protocol.
    #[arg(long, default_value = "5ms")]
    pub every: SignedDuration,
    /// Port of TCP and UDP.
    #[arg(long, default_value_t = 7)]
    pub port: u16,
    /// End after this time; never without it.
    #[arg(long)]
    pub duration: Option<SignedDuration>,
    /// Append the lines to this file; standard output without it.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A protocol of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Connections to port 7.
    Tcp,
    /// Datagrams to port 7.
    Udp,
    /// Echo requests.
    Icmp,
}

/// Sends until the duration is over or for ever, and writes one JSON line a second.
///
/// # Errors
/// When there is nowhere to send to or a line cannot be written.
pub fn run(args: &SendArgs) -> Result<(), LabError> {
    let every = Duration::try_from(args.every).unwrap_or_default();
    let mut tallies = BTreeMap::new();
    let mut threads = Vec::new();
    for address in destinations(args)? {
        for protocol in protocols(args) {
            let tally = Arc::new(Mutex::new(Tally::default()));
            let number = u16::try_from(tallies.len()).unwrap_or_default();
            let flow = Flow::new(number, every, tally.clone());
            tallies.insert(name(protocol, address), tally);
            threads.push(start(protocol, SocketAddr::new(address, args.port), flow));
        }
    }
    let end = args
        .duration
        .and_then(|duration| Timestamp::now().checked_add(duration).ok());
    let (mut from, mut stalled) = (Timestamp::now(), patience::stalled());
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if threads.iter().any(JoinHandle::is_finished) {
            return Err(LabError::ThreadLost { act: "send" });
        }
        let line = line(&tallies, from, stalled);
        from = line.at;
        stalled = patience::stalled();
        write(args, &line)?;
        if end.is_some_and(|end| Timestamp::now() >= end) {
            return Ok(());
        }
    }
}

fn destinations(args: &SendArgs) -> Result<Vec<IpAddr>, LabError> {
    if !args.to.is_empty() {
        return Ok(args.to.clone());
    }
    let named = ["WORLD", "WORLD6"]
        .iter()
        .filter_map(|name| std::env::var(name).ok()?.parse().ok());
    let found: Vec<IpAddr> = named.collect();
    if found.is_empty() {
        let why = "set $WORLD or $WORLD6, as a lab's pods have them, or give --to".to_owned();
        return Err(LabError::Invalid {
            what: "destination",
            value: String::new(),
            why,
        });
    }
    Ok(found)
}

fn protocols(args: &SendArgs) -> Vec<Protocol> {
    if args.protocol.is_empty() {
        Protocol::value_variants().to_vec()
    } else {
        args.protocol.clone()
    }
}

fn name(protocol: Protocol, address: IpAddr) -> String {
    let family = if address.is_ipv4() { '4' } else { '6' };
    format!("{protocol:?}{family}").to_lowercase()
}

fn start(protocol: Protocol, to: SocketAddr, flow: Flow) -> JoinHandle<()> {
    std::thread::spawn(move || match protocol {
        Protocol::Tcp => echo::connections(to, &flow),
        Protocol::Udp => echo::datagrams(to, &flow),
        Protocol::Icmp => ping::echo_requests(to.ip(), &flow),
    })
}

fn line(tallies: &BTreeMap<String, Arc<Mutex<Tally>>>, from: Timestamp, stalled: Duration) -> Line {
    let taken = tallies.iter().map(|(name, tally)| {
        let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
        (name.clone(), tally)
    });
    let stalled = patience::stalled().saturating_sub(stalled);
    Line {
        from,
        flows: taken.collect(),
        at: Timestamp::now(),
        stalled: stalled.try_into().unwrap_or_default(),
    }
}

fn write(args: &SendArgs, line: &Line) -> Result<(), LabError> {
    let text = serde_json::to_string(line).map_err(LabError::json("a line of the sender"))?;
    let Some(path) = &args.out else {
        println!("{text}");
        return Ok(());
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.map_err(LabError::file("open", path))?, "{text}")
        .map_err(LabError::file("write", path))
}
