//! The capture on disk: one file of keys (JSON lines), one of packets (12 bytes each: nanoseconds, key number).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lab::LabError;
use crate::proof::monitor::Kind;

const RECORD: usize = 12;

/// The key by which packets are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The node whose port on the LAN it came in by.
    pub node: String,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// The port that it went to, where that is a service's: 0 for ephemeral ones, which would make a key of each
    /// connection.
    #[serde(default)]
    pub port: u16,
    pub kind: Kind,
}

pub(crate) struct Writer {
    keys: BTreeMap<Key, u32>,
    key_file: File,
    packet_file: BufWriter<File>,
    packet_path: PathBuf,
    packets: u64,
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("keys.jsonl"), folder.join("packets.bin"))
}

impl Writer {
    pub(crate) fn create(folder: &Path) -> Result<Self, LabError> {
        let (keys, packet_path) = paths(folder);
        let key_file = File::create(&keys).map_err(LabError::file("create", keys))?;
        let packet_file =
            File::create(&packet_path).map_err(LabError::file("create", &packet_path))?;
        let packet_file = BufWriter::with_capacity(1 << 16, packet_file);
        Ok(Self {
            keys: BTreeMap::new(),
            key_file,
            packet_file,
            packet_path,
            packets: 0,
        })
    }

    /// Adds a packet that the kernel saw so many nanoseconds after the epoch.
    pub(crate) fn add(&mut self, nanoseconds: i64, key: Key) -> Result<(), LabError> {
        let number = match self.keys.get(&key) {
            Some(number) => *number,
            None => self.add_key(key)?,
        };
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&nanoseconds.to_le_bytes());
        record[8..].copy_from_slice(&number.to_le_bytes());
        self.packet_file
            .write_all(&record)
            .map_err(LabError::file("write", &self.packet_path))?;
        self.packets += 1;
        Ok(())
    }

    fn add_key(&mut self, key: Key) -> Result<u32, LabError> {
        let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let line = serde_json::to_string(&key).map_err(LabError::json("a key of the capture"))?;
        writeln!(self.key_file, "{line}").map_err(LabError::file("write", &self.packet_path))?;
        self.keys.insert(key, number);
        Ok(number)
    }

    /// Puts everything on disk and answers how many packets there are.
    pub(crate) fn flush(&mut self) -> Result<u64, LabError> {
        self.packet_file
            .flush()
            .map_err(LabError::file("write", &self.packet_path))?;
        Ok(self.packets)
    }
}

/// A capture as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The keys; packets name them by place.
    pub keys: Vec<Key>,
    /// Time stamp in nanoseconds after the epoch, and the place of the key.
    pub packets: Vec<(i64, u32)>,
    /// Packets that the kernel dropped before the monitor saw them. With any, the capture proves nothing.
    pub dropped: u64,
}

impl Recording {
    /// Reads of the first so many packets of a capture those from a time on; a few of before may be among them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn read(
        folder: &Path,
        packets: u64,
        dropped: u64,
        since: Timestamp,
    ) -> Result<Self, LabError> {
        let (key_path, packet_path) = paths(folder);
        let failed = || LabError::file("read", &packet_path);
        let mut file = File::open(&packet_path).map_err(failed())?;
        let first = first_since(&mut file, packets, nanoseconds(since)).map_err(failed())?;
        let size = packets.saturating_sub(first).saturating_mul(RECORD as u64);
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(first.saturating_mul(RECORD as u64)))
            .and_then(|_| file.take(size).read_to_end(&mut content))
            .map_err(failed())?;
        let packets = content.chunks_exact(RECORD).map(|record| {
            let (mut time, mut key) = ([0; 8], [0; 4]);
            time.copy_from_slice(&record[..8]);
            key.copy_from_slice(&record[8..]);
            (i64::from_le_bytes(time), u32::from_le_bytes(key))
        });
        let packets = packets.collect();
        let text = fs::read_to_string(&key_path).map_err(LabError::file("read", &key_path))?;
        // A line that is being written has no packet among the first so many.
        let keys = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .collect();
        Ok(Self {
            keys,
            packets,
            dropped,
        })
    }

    /// Every packet with its time and key, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &Key)> {
        self.since(Timestamp::MIN)
    }

    /// Every packet from a time on, in the order of arrival.
    pub fn since(&self, since: Timestamp) -> impl Iterator<Item = (Timestamp, &Key)> {
        let since = nanoseconds(since);
        let wanted = self.packets.iter().filter(move |(time, _)| *time >= since);
        let timed = wanted.map(|(time, key)| {
            let time = Timestamp::from_nanosecond(i128::from(*time)).unwrap_or_default();
            Some((time, self.keys.get(usize::try_from(*key).ok()?)?))
        });
        timed.flatten()
    }
}

/// Before the range of 64 bits lies nothing that was captured.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MIN)
}

/// The place of the first packet of about a time, found by bisection: packets come in order but for those that two
/// cores stamped at once.
fn first_since(file: &mut File, packets: u64, since: i64) -> std::io::Result<u64> {
    const OUT_OF_ORDER: u64 = 10_000;
    let (mut low, mut high) = (0, packets);
    while low < high {
        let middle = low.midpoint(high);
        let mut time = [0; 8];
        file.seek(SeekFrom::Start(middle.saturating_mul(RECORD as u64)))?;
        file.read_exact(&mut time)?;
        if i64::from_le_bytes(time) < since {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low.saturating_sub(OUT_OF_ORDER))
}

#[cfg(test)]
mod tests {
    use super::{Key, Recording, Writer};
    use crate::proof::monitor::Kind;

    #[test]
    fn what_was_written_is_read_up_to_the_asked_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path()).unwrap();
        let key = |node: &str| Key {
            node: node.to_owned(),
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2".parse().unwrap(),
            protocol: 17,
            port: 0,
            kind: Kind::Plain,
        };
        writer.add(5, key("n1")).unwrap();
        writer.add(6, key("n2")).unwrap();
        writer.add(7, key("n1")).unwrap();
        assert_eq!(writer.flush().unwrap(), 3);
        let recording = Recording::read(folder.path(), 2, 0, jiff::Timestamp::MIN).unwrap();
        let seen: Vec<_> = recording
            .iter()
            .map(|(time, key)| (time.as_nanosecond(), key.node.as_str()))
            .collect();
        assert_eq!(seen, [(5, "n1"), (6, "n2")]);
        let later = jiff::Timestamp::from_nanosecond(6).unwrap();
        assert_eq!(recording.since(later).count(), 1);
    }
}
