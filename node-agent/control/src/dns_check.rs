//! What the DNS filter costs: a measurement that a person asks for, and its result.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::filter_cost::FilterCost;

/// What the forwarder may add to the 99th percentile of its resolvers, in milliseconds, unless a person says otherwise.
pub const BOUND: u64 = 50;

/// The pod, the names and the rounds of a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsCheck {
    /// The pod, by an address.
    pub pod: IpAddr,
    /// Names that its policy allows.
    pub names: Vec<String>,
    /// How often each is asked by each way.
    pub rounds: u32,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsCheckReport {
    /// The resolvers, in their order.
    pub resolvers: Vec<SocketAddr>,
    pub cost: FilterCost,
}

/// What was measured, and whether that is within the bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsVerdict {
    #[serde(flatten)]
    pub report: DnsCheckReport,
    /// What the forwarder adds to the 99th percentile, in microseconds.
    pub added: u64,
    /// What it may add, in microseconds.
    pub bound: u64,
    pub holds: bool,
}

impl DnsVerdict {
    #[must_use]
    pub fn of(report: DnsCheckReport, bound: Duration) -> Self {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            added: microseconds(report.cost.added()),
            bound: microseconds(bound),
            holds: report.cost.holds(bound),
            report,
        }
    }
}

impl fmt::Display for DnsVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds =
            |microseconds: u64| Duration::from_micros(microseconds).as_secs_f64() * 1e3;
        writeln!(
            f,
            "{:<10} {:>8} {:>7} {:>9} {:>9} {:>9}",
            "asked", "answered", "missed", "p50 ms", "p95 ms", "p99 ms"
        )?;
        let FilterCost {
            forwarder,
            upstream,
        } = self.report.cost;
        for (way, times) in [("forwarder", forwarder), ("resolvers", upstream)] {
            let [p50, p95, p99] = [times.p50, times.p95, times.p99].map(milliseconds);
            writeln!(
                f,
                "{way:<10} {:>8} {:>7} {p50:>9.2} {p95:>9.2} {p99:>9.2}",
                times.answered, times.missed
            )?;
        }
        let resolvers = self.report.resolvers.iter();
        let resolvers: Vec<String> = resolvers.map(ToString::to_string).collect();
        writeln!(f, "resolvers: {}", resolvers.join(", "))?;
        writeln!(
            f,
            "{}: the forwarder adds {:.2} ms at the 99th percentile, the bound is {:.0} ms",
            match self.holds {
                true => "holds",
                false => "does not hold",
            },
            milliseconds(self.added),
            milliseconds(self.bound)
        )
    }
}
