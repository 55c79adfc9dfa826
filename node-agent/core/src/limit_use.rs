//! What pods have left of the limits of their policy. The kernel shows how much each source sent since its element was made, and not
//! what is left: two looks give the rate between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_intent::{Address, ScopeId};
use postern_plan::desired::names::limit_set;
use postern_plan::desired::{DnsPlan, limit_of};
use postern_plan::host::Family;
use postern_plan::ruleset::{LimitMeasure, SourceCount};

/// The rates that the kernel counts. It does not show how many connections a source has open.
pub const RATES: [LimitMeasure; 3] = [
    LimitMeasure::NewConnections,
    LimitMeasure::Packets,
    LimitMeasure::Bytes,
];

/// The sources of each set that was read.
pub type SourceCounts = BTreeMap<String, BTreeMap<Address, SourceCount>>;

/// What the pods of one policy have left of one limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitShare {
    /// Of the source that has the least: 1 is everything, 0 is nothing.
    pub least: f64,
    /// Sources that have nothing left. An address of a pod is a source; each has the limit for itself.
    pub used_up: i64,
}

/// The look before.
#[derive(Debug, Clone, Default)]
pub struct LimitLooks {
    before: Option<(Instant, SourceCounts)>,
}

/// Sets of the rates that policies of these pods limit.
#[must_use]
pub fn limit_sets(plan: &DnsPlan) -> Vec<String> {
    let mut sets: Vec<String> = sources(plan).map(|source| source.set).collect();
    sets.sort_unstable();
    sets.dedup();
    sets
}

/// One address and one limit of it.
struct LimitedSource<'a> {
    scope: &'a ScopeId,
    address: &'a Address,
    measure: LimitMeasure,
    most: u64,
    set: String,
}

fn sources(plan: &DnsPlan) -> impl Iterator<Item = LimitedSource<'_>> {
    plan.entries.iter().flat_map(|(address, entry)| {
        let limits = entry.terms.as_ref().map(|terms| terms.limits);
        let scope = entry.scope.as_ref();
        RATES.into_iter().filter_map(move |measure| {
            let most = limit_of(&limits?, measure)?;
            Some(LimitedSource {
                scope: scope?,
                address,
                measure,
                most,
                set: limit_set(measure, most, Family::of(address)),
            })
        })
    })
}

impl LimitLooks {
    /// Takes a look. Nothing follows from the first one, nor from one at the same moment. Of a limit of a policy there is no share
    /// where one of the two looks lacks a set of its pods.
    pub fn take(
        &mut self,
        plan: &DnsPlan,
        now: Instant,
        counts: SourceCounts,
    ) -> BTreeMap<(ScopeId, LimitMeasure), LimitShare> {
        let mut shares = BTreeMap::new();
        if let Some((then, before)) = &self.before {
            let passed = now.saturating_duration_since(*then);
            for source in sources(plan).filter(|_| passed > Duration::ZERO) {
                let key = (source.scope.clone(), source.measure);
                let share = shares.entry(key).or_insert(Some(LimitShare {
                    least: 1.0,
                    used_up: 0,
                }));
                let looks = before.get(&source.set).zip(counts.get(&source.set));
                *share = share.zip(looks).map(|(share, (before, now))| {
                    let left = left(&source, passed, before, now);
                    LimitShare {
                        least: share.least.min(left),
                        used_up: share.used_up + i64::from(left <= 0.0),
                    }
                });
            }
        }
        self.before = Some((now, counts));
        let known = shares.into_iter();
        known
            .filter_map(|(key, share)| Some((key, share?)))
            .collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share is read in parts of a thousand, and 52 bits are more than that"
)]
fn left(
    source: &LimitedSource<'_>,
    passed: Duration,
    before: &BTreeMap<Address, SourceCount>,
    now: &BTreeMap<Address, SourceCount>,
) -> f64 {
    let count = |counts: &BTreeMap<Address, SourceCount>| {
        let count = counts.get(source.address)?;
        Some(match source.measure {
            LimitMeasure::Bytes => count.bytes,
            _ => count.packets,
        })
    };
    let sent = count(now).unwrap_or_default();
    // An element that ended in between counts from 0.
    let sent = match count(before) {
        Some(before) if before <= sent => sent - before,
        _ => sent,
    };
    let rate = sent as f64 / passed.as_secs_f64();
    (1.0 - rate / source.most as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "a test needs a moment to count from, and fails by what is not there"
    )]

    use std::sync::Arc;

    use postern_intent::body::{Terms, TermsDnsMode, TermsDnsRefusal, TermsLimits};
    use postern_plan::desired::dns::DnsEntry;

    use super::*;

    fn plan() -> DnsPlan {
        let entry = |policy: &str| DnsEntry {
            scope: Some(format!("crawlers/{policy}@eu").parse().unwrap()),
            mode: TermsDnsMode::Forward,
            refusal: TermsDnsRefusal::NxDomain,
            names: Arc::default(),
            upstreams: Vec::new(),
            terms: Some(Arc::new(Terms {
                limits: TermsLimits {
                    packets_per_second: Some(100),
                    bytes_per_second: Some(1000),
                    ..TermsLimits::default()
                },
                ..Terms::nothing()
            })),
            exit: None,
        };
        let pods = [("10.244.1.2", "a"), ("10.244.1.3", "a"), ("fd00::4", "b")];
        DnsPlan {
            entries: pods
                .map(|(address, policy)| (address.parse().unwrap(), entry(policy)))
                .into(),
            ..DnsPlan::default()
        }
    }

    fn counts(packets: &[(&str, u64)]) -> SourceCounts {
        let each = packets.iter().map(|(address, packets)| {
            let count = SourceCount {
                packets: *packets,
                bytes: 0,
            };
            (address.parse().unwrap(), count)
        });
        let mut counts: SourceCounts = limit_sets(&plan())
            .into_iter()
            .map(|set| (set, BTreeMap::new()))
            .collect();
        counts.insert("limit_packets_100_4".to_owned(), each.collect());
        counts
    }

    #[test]
    fn the_pod_with_the_least_decides_and_those_at_their_limit_are_counted_by_policy() {
        let plan = plan();
        let wanted = [
            "limit_bytes_1000_4",
            "limit_bytes_1000_6",
            "limit_packets_100_4",
            "limit_packets_100_6",
        ];
        assert_eq!(limit_sets(&plan), wanted);
        let mut looks = LimitLooks::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let first = looks.take(&plan, at(0), counts(&[("10.244.1.2", 7)]));
        assert!(first.is_empty());
        let both = [("10.244.1.2", 257), ("10.244.1.3", 2000)];
        let shares = looks.take(&plan, at(5), counts(&both));
        let of = |policy: &str, measure| {
            let scope: ScopeId = format!("crawlers/{policy}@eu").parse().unwrap();
            shares[&(scope, measure)]
        };
        let found = of("a", LimitMeasure::Packets);
        assert!(found.least <= 0.0 && found.used_up == 1, "{found:?}");
        for quiet in [of("a", LimitMeasure::Bytes), of("b", LimitMeasure::Packets)] {
            assert!(quiet.least >= 1.0 && quiet.used_up == 0, "{quiet:?}");
        }
        // 50 of 100 in a second, from an element that was made anew.
        let shares = looks.take(&plan, at(10), counts(&[("10.244.1.2", 250)]));
        let found = shares[&("crawlers/a@eu".parse().unwrap(), LimitMeasure::Packets)];
        assert!(
            (found.least - 0.5).abs() < 1e-9 && found.used_up == 0,
            "{found:?}"
        );
    }

    #[test]
    fn a_set_that_is_not_read_leaves_no_share_of_its_limit_behind_and_the_other_limits_have_theirs()
    {
        let plan = plan();
        let mut looks = LimitLooks::default();
        let begin = Instant::now();
        let mut unread = counts(&[]);
        unread.remove("limit_packets_100_4");
        let mut known = Vec::new();
        for (seconds, counts) in [
            (0, counts(&[])),
            (5, unread),
            (10, counts(&[])),
            (15, counts(&[])),
        ] {
            let shares = looks.take(&plan, begin + Duration::from_secs(seconds), counts);
            let has = |policy: &str, measure| {
                let scope: ScopeId = format!("crawlers/{policy}@eu").parse().unwrap();
                shares.contains_key(&(scope, measure))
            };
            known.push([
                has("a", LimitMeasure::Packets),
                has("a", LimitMeasure::Bytes),
                has("b", LimitMeasure::Packets),
            ]);
        }
        let [none, others, all] = [[false; 3], [false, true, true], [true; 3]];
        assert_eq!(known, [none, others, others, all]);
    }
}
