//! Gauges of things that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};

/// One gauge for each label set. Clones share the gauges.
pub(crate) struct GaugeSeries<L, N, A> {
    family: Family<L, Gauge<N, A>>,
    shown: Arc<Mutex<BTreeSet<L>>>,
}

impl<L, N, A> GaugeSeries<L, N, A>
where
    L: Clone + Ord + Hash,
    A: Atomic<N> + Default,
{
    pub(crate) fn family(&self) -> Family<L, Gauge<N, A>> {
        self.family.clone()
    }

    /// Sets these gauges and removes all others. A scrape meanwhile still sees each gauge that stays.
    pub(crate) fn show(&self, values: BTreeMap<L, N>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.iter().filter(|labels| !values.contains_key(labels)) {
            self.family.remove(gone);
        }
        *shown = values.keys().cloned().collect();
        for (labels, value) in values {
            self.family.get_or_create_owned(&labels).set(value);
        }
    }
}

impl<L, N, A> Clone for GaugeSeries<L, N, A> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
            shown: Arc::clone(&self.shown),
        }
    }
}

impl<L: Clone + Eq + Hash, N, A: Default> Default for GaugeSeries<L, N, A> {
    fn default() -> Self {
        Self {
            family: Family::default(),
            shown: Arc::default(),
        }
    }
}

impl<L: fmt::Debug, N, A> fmt::Debug for GaugeSeries<L, N, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GaugeSeries").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_is_gone_is_served_no_more_and_what_stays_has_its_new_value() {
        let series = GaugeSeries::<Vec<(String, String)>, i64, AtomicI64>::default();
        let mut registry = Registry::default();
        registry.register("packets", "Packets", series.family());
        let of = |rule: &str| vec![("rule".to_owned(), rule.to_owned())];
        series.show([(of("a"), 1), (of("b"), 2)].into());
        series.show([(of("b"), 3), (of("c"), 0)].into());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["packets{rule=\"b\"} 3", "packets{rule=\"c\"} 0"]);
    }
}
