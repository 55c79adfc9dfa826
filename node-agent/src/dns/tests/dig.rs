//! A real client.

use std::process::Command;

use super::namespace::Host;

/// What dig saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status of the header, none when nothing came.
    pub(super) status: Option<String>,
    /// The data of the records.
    pub(super) records: Vec<String>,
    /// Was it cut to the size of a datagram?
    pub(super) truncated: bool,
}

impl Answer {
    pub(super) fn of(status: &str, records: &[&str]) -> Self {
        let records = records.iter().map(ToString::to_string).collect();
        Self {
            status: Some(status.to_owned()),
            records,
            truncated: false,
        }
    }

    pub(super) fn nothing() -> Self {
        Self {
            status: None,
            records: Vec::new(),
            truncated: false,
        }
    }
}

/// Asks from a host; `options` are dig's, for example `@203.0.113.53 +tcp example.com A`.
pub(super) fn dig(host: &Host, options: &str) -> Answer {
    // 5 s is what clients wait by default (resolv.conf(5)).
    dig_for(host, 5, options)
}

/// Asks and waits for so many seconds.
pub(super) fn dig_for(host: &Host, seconds: u8, options: &str) -> Answer {
    let line = host.line(&format!(
        "dig +tries=1 +timeout={seconds} +ignore {options}"
    ));
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    read(&String::from_utf8_lossy(&output.stdout))
}

fn read(text: &str) -> Answer {
    let status = text
        .split("status: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let flags = text
        .split(";; flags:")
        .nth(1)
        .and_then(|rest| rest.split(';').next())
        .unwrap_or_default();
    let records = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty())
        .filter_map(|line| line.split_whitespace().last());
    Answer {
        status: status.map(str::to_owned),
        records: records.map(str::to_owned).collect(),
        truncated: flags.split_whitespace().any(|flag| flag == "tc"),
    }
}
