//! Which notice is another Event and which is one more of the same (`events.k8s.io/v1`, `EventSeries`). Pure: it is given
//! the time.
//!
//! The recorder of kube counts by object, reason and action. What waits for an approval, or an entry that cannot be
//! read, differs in its note alone, and the note of an Event cannot be changed: a second one would show the digest of
//! the first. Here the whole notice is what is counted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use postern_crds::names::OPERATOR_FIELD_MANAGER;

use super::events::{EventNotice, EventTarget, EventTone};

/// How long the same notice is counted in the same Event, as other writers of Events do.
const WINDOW: SignedDuration = SignedDuration::from_mins(6);

/// Longest note in bytes (kubernetes, `pkg/apis/core/validation/events.go`).
const NOTE_LIMIT: usize = 1024;

/// Longest part of an object's name in the name of an Event: with the time behind it, it stays below 253 bytes.
const NAME_LIMIT: usize = 200;

/// The Events that were written lately.
#[derive(Debug)]
pub(super) struct Series {
    instance: String,
    written: BTreeMap<EventNotice, (Timestamp, Event)>,
}

impl Series {
    pub(super) const fn new(instance: String) -> Self {
        Self {
            instance,
            written: BTreeMap::new(),
        }
    }

    /// The Event to write for a notice now. One with a series is there already, and only its series is to be written.
    pub(super) fn next(&mut self, notice: &EventNotice, now: Timestamp) -> Event {
        self.written
            .retain(|_, (last, _)| now.duration_since(*last) < WINDOW);
        let event = match self.written.get(notice) {
            Some((_, earlier)) => Event {
                series: Some(EventSeries {
                    count: earlier.series.as_ref().map_or(1, |series| series.count) + 1,
                    last_observed_time: MicroTime(now),
                }),
                ..earlier.clone()
            },
            None => event(notice, &self.instance, now),
        };
        self.written.insert(notice.clone(), (now, event.clone()));
        event
    }

    /// It was not written: the next one begins anew.
    pub(super) fn forget(&mut self, notice: &EventNotice) {
        self.written.remove(notice);
    }
}

fn event(notice: &EventNotice, instance: &str, now: Timestamp) -> Event {
    let about = &notice.regarding;
    let namespace = about.namespace.as_deref().unwrap_or("default");
    // The policy of the tier `Baseline` has a name that no object may have.
    let name = about.name.replace(':', ".");
    let name = upto(&name, NAME_LIMIT).trim_end_matches(['-', '.']);
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(
            match notice.tone {
                EventTone::Normal => "Normal",
                EventTone::Warning => "Warning",
            }
            .to_owned(),
        ),
        reason: Some(notice.reason.clone()),
        action: Some(notice.action.clone()),
        note: Some(upto(&notice.note, NOTE_LIMIT).to_owned()),
        regarding: Some(reference(about)),
        reporting_controller: Some(format!("postern.dev/{OPERATOR_FIELD_MANAGER}")),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

fn reference(about: &EventTarget) -> ObjectReference {
    ObjectReference {
        api_version: Some(about.api_version.clone()),
        kind: Some(about.kind.clone()),
        namespace: about.namespace.clone(),
        name: Some(about.name.clone()),
        uid: about.uid.clone(),
        ..ObjectReference::default()
    }
}

fn upto(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{NOTE_LIMIT, Series};
    use crate::pipeline::statuses::{EventNotice, EventTarget, EventTone};

    fn held(digest: &str) -> EventNotice {
        EventNotice {
            regarding: EventTarget::node("n1"),
            tone: EventTone::Warning,
            reason: "Restored".to_owned(),
            action: "Approve".to_owned(),
            note: format!("approve digest {digest}"),
        }
    }

    fn series() -> Series {
        Series::new("operator-0".to_owned())
    }

    #[test]
    fn a_second_hold_of_the_same_object_is_an_event_with_its_own_digest() {
        let (mut series, now) = (series(), Timestamp::UNIX_EPOCH);
        let first = series.next(&held("aaa"), now);
        let second = series.next(&held("bbb"), now + SignedDuration::from_secs(60));
        assert_eq!(second.note.as_deref(), Some("approve digest bbb"));
        assert_eq!(second.series, None);
        assert_ne!(first.metadata.name, second.metadata.name);
    }

    #[test]
    fn the_same_news_within_six_minutes_is_a_count_and_later_another_event() {
        let (mut series, start) = (series(), Timestamp::UNIX_EPOCH);
        let mut at = |seconds| {
            let event = series.next(&held("aaa"), start + SignedDuration::from_secs(seconds));
            (event.metadata.name, event.series.map(|series| series.count))
        };
        let (name, first) = at(0);
        assert_eq!(first, None);
        assert_eq!(at(300), (name.clone(), Some(2)));
        assert_eq!(at(600), (name.clone(), Some(3)));
        let (later, again) = at(600 + 360);
        assert_eq!(again, None);
        assert_ne!(later, name);
    }

    #[test]
    fn what_was_not_written_is_not_counted() {
        let (mut series, now) = (series(), Timestamp::UNIX_EPOCH);
        series.next(&held("aaa"), now);
        series.forget(&held("aaa"));
        assert_eq!(series.next(&held("aaa"), now).series, None);
    }

    #[test]
    fn names_and_notes_are_cut_to_what_an_event_may_hold() {
        let notice = EventNotice {
            regarding: EventTarget::node(&"n".repeat(253)),
            note: "é".repeat(NOTE_LIMIT),
            ..held("aaa")
        };
        let event = series().next(&notice, Timestamp::now());
        assert_eq!(event.note.map(|note| note.len()), Some(NOTE_LIMIT));
        let name = event.metadata.name.unwrap_or_default();
        assert!(name.len() <= 253, "{name}");
    }
}
