//! The forwarder of names: where it runs, and whom it asks where nothing names a resolver.

use std::collections::BTreeMap;

use postern_agent::dns::NodeResolvers;
use postern_agent::limits::watch_limits;
use postern_agent::metrics::AgentMetrics;
use postern_agent::options::RunArgs;
use postern_agent::records::NameRecords;
use postern_agent::resolver::DnsHandle;
use postern_linux::{LinuxHost, LinuxOptions};
use tokio::runtime::Handle;

/// Resolvers that are asked where nothing names one: the setting's, else those of the node.
pub(super) fn own_resolvers(args: &RunArgs) -> NodeResolvers {
    match args.dns_upstreams.is_empty() {
        true => NodeResolvers::read(&args.resolv_conf),
        false => NodeResolvers::set(args.dns_upstreams.clone()),
    }
}

/// Where the forwarder runs.
pub(super) struct ForwarderPlace<'a> {
    runtime: &'a Handle,
    /// Its own, so that its sockets belong to that runtime.
    host: LinuxHost,
    /// Of what else is read for it.
    limits: LinuxHost,
}

impl<'a> ForwarderPlace<'a> {
    pub(super) fn of(runtime: &'a Handle, options: &LinuxOptions) -> Self {
        let host = || LinuxHost::new(options.clone());
        Self {
            runtime,
            host: host(),
            limits: host(),
        }
    }
}

/// The DNS forwarder in tasks of its own. A port that is taken means that names do not resolve, and nothing else: the
/// guard must not wait for it. The report then counts it.
pub(super) fn serve_names(
    args: &RunArgs,
    place: ForwarderPlace<'_>,
    own: &NodeResolvers,
    metrics: &AgentMetrics,
    records: NameRecords,
) -> (DnsHandle, BTreeMap<String, u64>) {
    let (handle, tables) = DnsHandle::pair(metrics.dns());
    let limits = watch_limits(place.limits, handle.plans(), metrics.clone());
    tokio::spawn(limits);
    let options = postern_agent::dns::ForwarderOptions {
        port: args.dns_port,
        own: own.clone(),
    };
    let mut counters = BTreeMap::new();
    let _entered = place.runtime.enter();
    if let Err(error) =
        postern_agent::resolver::start(options, tables, place.host, metrics.dns(), records)
    {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "names are not served"
        );
        counters.insert("dns_unserved".to_owned(), 1);
    }
    (handle, counters)
}
