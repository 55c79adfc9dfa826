//! The forwarder of names: where it runs, and whom it asks where nothing names a resolver.

use std::collections::BTreeMap;

use postern_agent::dns::NodeResolvers;
use postern_agent::metrics::AgentMetrics;
use postern_agent::options::RunArgs;
use postern_agent::records::NameRecords;
use postern_agent::resolver::DnsHandle;
use postern_linux::LinuxHost;
use tokio::runtime::Handle;

/// Resolvers that are asked where nothing names one: the setting's, else those of the node.
pub(super) fn own_resolvers(args: &RunArgs) -> NodeResolvers {
    match args.dns_upstreams.is_empty() {
        true => NodeResolvers::read(&args.resolv_conf),
        false => NodeResolvers::set(args.dns_upstreams.clone()),
    }
}

/// The DNS forwarder in tasks of a runtime of its own, with a host of its own whose sockets belong to that runtime. A port that is taken
/// means that names do not resolve, and nothing else: the guard must not wait for it. The report then counts it.
pub(super) fn serve_names(
    args: &RunArgs,
    (runtime, host): (&Handle, LinuxHost),
    own: &NodeResolvers,
    metrics: &AgentMetrics,
    records: NameRecords,
) -> (DnsHandle, BTreeMap<String, u64>) {
    let (mut handle, tables) = DnsHandle::pair(metrics.dns());
    handle.own = own.clone();
    let options = postern_agent::dns::ForwarderOptions {
        port: args.dns_port,
        own: own.clone(),
    };
    let mut counters = BTreeMap::new();
    let _entered = runtime.enter();
    if let Err(error) =
        postern_agent::resolver::start(options, tables, host, metrics.dns(), records)
    {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "names are not served"
        );
        counters.insert("dns_unserved".to_owned(), 1);
    }
    (handle, counters)
}
