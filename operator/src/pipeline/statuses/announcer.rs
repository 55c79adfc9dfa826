//! Which notices are new, so that what lasts is announced once. Pure, but for the queue that it fills.

use std::collections::{BTreeMap, BTreeSet};

use super::events::EventNotice;
use super::queue::EventQueue;

/// What was announced and still holds, by list, by the object's name and by what the notice is about.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Announcer {
    announced: BTreeSet<(&'static str, String, String)>,
}

impl Announcer {
    /// Announces what is new of a list of notices, and forgets what is over.
    pub(super) fn announce(
        &mut self,
        events: &EventQueue,
        list: &'static str,
        notices: BTreeMap<(String, String), EventNotice>,
    ) {
        let over = |(of, name, what): &(&'static str, String, String)| {
            *of == list && !notices.contains_key(&(name.clone(), what.clone()))
        };
        self.announced.retain(|key| !over(key));
        for ((name, what), notice) in notices {
            if self.announced.insert((list, name, what)) {
                events.push(notice);
            }
        }
    }
}
