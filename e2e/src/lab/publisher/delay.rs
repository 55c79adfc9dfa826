//! Files that arrive late.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::lab::LabError;

/// Copies each version of some files to other places, a while after it appeared.
#[derive(Debug)]
pub(crate) struct Delay {
    lab: Lab,
    delay: Duration,
    pairs: Vec<(PathBuf, PathBuf)>,
    seen: BTreeMap<PathBuf, Vec<u8>>,
    due: VecDeque<(Instant, PathBuf, Vec<u8>)>,
}

impl Delay {
    /// Copies from the first path of each pair to the second.
    pub(crate) fn new(lab: Lab, delay: Duration, pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        Self {
            lab,
            delay,
            pairs,
            seen: BTreeMap::new(),
            due: VecDeque::new(),
        }
    }

    /// Looks for new versions and copies those whose time has come; answers how many.
    pub(crate) fn step(&mut self, now: Instant) -> Result<usize, LabError> {
        for (from, to) in &self.pairs {
            // A file that is not there yet has no version.
            let Ok(content) = fs::read(from) else {
                continue;
            };
            if self.seen.get(from) != Some(&content) {
                self.seen.insert(from.clone(), content.clone());
                self.due.push_back((now + self.delay, to.clone(), content));
            }
        }
        let mut copied = 0;
        while self.due.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, to, content)) = self.due.pop_front() else {
                break;
            };
            make_parent(&to)?;
            self.lab.write_atomically(&to, &content)?;
            copied += 1;
        }
        Ok(copied)
    }
}

fn make_parent(path: &Path) -> Result<(), LabError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(LabError::file("create", parent))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Delay;
    use crate::lab::Lab;

    #[test]
    fn each_version_arrives_after_the_delay_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/to"));
        let lab = Lab::at(folder.path()).unwrap();
        let mut delay = Delay::new(
            lab,
            Duration::from_secs(3),
            vec![(from.clone(), to.clone())],
        );
        let start = Instant::now();
        assert_eq!(delay.step(start).unwrap(), 0);
        std::fs::write(&from, "one").unwrap();
        assert_eq!(delay.step(start).unwrap(), 0);
        std::fs::write(&from, "two").unwrap();
        assert_eq!(delay.step(start + Duration::from_secs(2)).unwrap(), 0);
        assert_eq!(delay.step(start + Duration::from_secs(4)).unwrap(), 1);
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "one");
        assert_eq!(delay.step(start + Duration::from_secs(5)).unwrap(), 1);
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "two");
    }
}
