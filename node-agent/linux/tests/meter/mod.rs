//! How much of its limit each source has used up: what a kernel must have counted, by the times at which packets were sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use postern_intent::Address;
use postern_intent::body::TermsLimits;
use postern_plan::desired::limit_of;
use postern_plan::evaluate::Packet;
use postern_plan::ruleset::LimitMeasure;

/// A packet that was sent.
pub(crate) struct SentPacket {
    pub packet: Packet,
    pub length: usize,
    /// The kernel had it between these two.
    pub times: [Instant; 2],
    /// The device by which it left, if it did.
    pub left: Option<&'static str>,
}

/// What a limit does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitVerdict {
    Within,
    Over,
}

/// The one limit of a policy that a few packets reach.
pub(crate) struct LimitMeter {
    pub measure: LimitMeasure,
    most: f64,
    buckets: BTreeMap<Address, TokenBucket>,
    /// Connections of each source that left, and those that did not.
    open: BTreeMap<Address, [usize; 2]>,
}

/// What a source may still send, at least and at most: how much came back since the last packet is known as well as the times are.
struct TokenBucket {
    tokens: [f64; 2],
    last: [Instant; 2],
}

impl LimitMeter {
    /// None: the policy has no limit that a test reaches.
    pub(crate) fn of(limits: &TermsLimits) -> Option<Self> {
        let each = LimitMeasure::EACH.into_iter();
        let limit = each.filter_map(|measure| Some((measure, limit_of(limits, measure)?)));
        let low: BTreeSet<_> = limit.filter(|(_, most)| *most < 1000).collect();
        let (measure, most) = low.into_iter().next()?;
        Some(Self {
            measure,
            most: f64::from(u32::try_from(most).ok()?),
            buckets: BTreeMap::new(),
            open: BTreeMap::new(),
        })
    }

    /// What the limit does with this packet. None: both are possible, by the times at which it was sent.
    pub(crate) fn verdict(&mut self, sent: &SentPacket) -> Option<LimitVerdict> {
        let source = sent.packet.source;
        if self.measure == LimitMeasure::Connections {
            // The kernel counts a connection that it dropped for some milliseconds.
            let [left, dropped] = *self.open.entry(source).or_default();
            let most = self.most as usize;
            return match left < most {
                false => Some(LimitVerdict::Over),
                true => (left + dropped < most).then_some(LimitVerdict::Within),
            };
        }
        let most = self.most;
        let bucket = self.buckets.entry(source).or_insert(TokenBucket {
            tokens: [most, most],
            last: sent.times,
        });
        let [before, after] = sent.times;
        let since = [
            before.saturating_duration_since(bucket.last[1]),
            after.saturating_duration_since(bucket.last[0]),
        ];
        for (tokens, since) in bucket.tokens.iter_mut().zip(since) {
            *tokens = (*tokens + since.as_secs_f64() * most).min(most);
        }
        bucket.last = sent.times;
        let cost = cost(self.measure, sent.length);
        match bucket.tokens.map(|tokens| tokens >= cost) {
            [false, true] => None,
            [_, false] => Some(LimitVerdict::Over),
            [_, true] => Some(LimitVerdict::Within),
        }
    }

    /// Takes from the source what a packet used that was let through or dropped.
    pub(crate) fn take(&mut self, sent: &SentPacket, verdict: LimitVerdict) {
        let source = sent.packet.source;
        let open = self.open.entry(source).or_default();
        open[usize::from(sent.left.is_none())] += 1;
        let cost = cost(self.measure, sent.length);
        if let Some(bucket) = self.buckets.get_mut(&source) {
            bucket.tokens = match (verdict, bucket.tokens) {
                (LimitVerdict::Over, [least, most]) => [least, most.min(cost)],
                (LimitVerdict::Within, [least, most]) => [(least - cost).max(0.0), most - cost],
            };
        }
    }
}

/// What a packet takes out of the bucket, which holds what may be sent in one second.
fn cost(measure: LimitMeasure, length: usize) -> f64 {
    match measure {
        LimitMeasure::Bytes => length as f64,
        _ => 1.0,
    }
}
