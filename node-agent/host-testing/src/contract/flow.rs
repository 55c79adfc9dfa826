//! Connection tracking, as far as a host without traffic shows it. Real flows are cut in the end-to-end suite.

use std::net::SocketAddr;

use postern_intent::{Address, Prefix};
use postern_plan::binding::Bindings;
use postern_plan::desired::{HostFacts, PlanInputs};
use postern_plan::flow::{CutExtent, FlowEntry, InsideFlows};
use postern_plan::settings::NodeSettings;
use postern_plan::{Desired, FlowCut};

use super::{CaseResult, OtherProgram};
use postern_host::ports::{Host, TransportProtocol};

/// An empty table is no error, in either family.
pub async fn nothing_is_cut_where_nothing_flows(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let addresses = ["10.244.1.7", "::1"].map(|text| (address(text), CutExtent::BothWays));
    let cut = FlowCut {
        addresses: addresses.into(),
        ..FlowCut::default()
    };
    assert_eq!(host.cut_flows(&cut).await?, 0);
    assert_eq!(host.cut_flows(&FlowCut::default()).await?, 0);
    Ok(())
}

/// A pod, its flows and what of them is left: a Service translated to a pod of the cluster goes on, one translated to an
/// endpoint in the world does not, and what the world opened goes with the pod only.
pub async fn a_cut_takes_what_leaves_the_cluster_and_leaves_what_is_inside(
    host: &impl Host,
    other: &impl OtherProgram,
) -> CaseResult {
    for flow in flows() {
        other.opens_flow(&flow).await;
    }
    let outgoing = cut([(POD, CutExtent::Outgoing), (POD6, CutExtent::Outgoing)]);
    assert_eq!(host.cut_flows(&outgoing).await?, 3);
    assert_eq!(host.cut_flows(&outgoing).await?, 0);
    let both_ways = cut([(POD, CutExtent::BothWays)]);
    assert_eq!(host.cut_flows(&both_ways).await?, 1);
    assert_eq!(host.cut_flows(&both_ways).await?, 0);
    // The other pod's are left, and what is inside; without knowing what is inside a cut takes everything.
    let unknown = FlowCut {
        inside: InsideFlows::default(),
        ..cut([(POD, CutExtent::Outgoing), (OTHER, CutExtent::Outgoing)])
    };
    assert_eq!(host.cut_flows(&unknown).await?, 2);
    Ok(())
}

/// A cut of a range deletes every flow that a client of the range opened, inside of the cluster too, and no other flow.
pub async fn a_cut_of_a_range_of_clients_takes_all_that_they_opened(
    host: &impl Host,
    other: &impl OtherProgram,
) -> CaseResult {
    let all = flows();
    for flow in &all {
        other.opens_flow(flow).await;
    }
    let range: Prefix = "10.244.0.0/16"
        .parse()
        .unwrap_or_else(|error| unreachable!("{error}"));
    let within = |flow: &&FlowEntry| range.net().contains(&flow.original.0.ip());
    let wanted = all.iter().filter(within).count();
    let cut = FlowCut {
        clients: vec![range],
        ..FlowCut::default()
    };
    assert_eq!(host.cut_flows(&cut).await?, wanted);
    assert_eq!(host.cut_flows(&cut).await?, 0);
    Ok(())
}

/// For many addresses the table is walked once instead of being asked for each of them.
pub async fn a_cut_of_many_addresses_takes_what_the_cut_of_one_takes(
    host: &impl Host,
    other: &impl OtherProgram,
) -> CaseResult {
    for flow in flows() {
        other.opens_flow(&flow).await;
    }
    let many = (20..60).map(|last| (format!("10.244.1.{last}"), CutExtent::Outgoing));
    let all = many.chain([(POD.to_owned(), CutExtent::Outgoing)]);
    assert_eq!(host.cut_flows(&cut(all)).await?, 2);
    Ok(())
}

const POD: &str = "10.244.1.7";
const POD6: &str = "fd00:10:244:1::7";
const OTHER: &str = "10.244.1.8";

fn flows() -> [FlowEntry; 6] {
    let translated = |client: &str, asked: &str, server: &str| FlowEntry {
        protocol: 17,
        original: (socket(client), socket(asked)),
        reply: (socket(server), socket(client)),
    };
    let straight = |client: &str, server: &str| translated(client, server, server);
    [
        translated("10.244.1.7:4000", "10.96.0.1:80", "10.244.2.9:80"),
        translated("10.244.1.7:4001", "10.96.0.2:80", "203.0.113.9:80"),
        straight("10.244.1.7:4002", "203.0.113.9:443"),
        straight("[fd00:10:244:1::7]:4003", "[2001:db8::9]:443"),
        translated("203.0.113.8:4004", "192.168.10.11:30080", "10.244.1.7:80"),
        straight("10.244.1.8:4005", "203.0.113.9:443"),
    ]
}

/// A cut in a cluster whose pods are 10.244.0.0/16 and fd00:10:244::/48.
fn cut<T: AsRef<str>>(addresses: impl IntoIterator<Item = (T, CutExtent)>) -> FlowCut {
    let settings = NodeSettings {
        pod_ranges: ["10.244.0.0/16", "fd00:10:244::/48"]
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        ..NodeSettings::default()
    };
    let inputs = PlanInputs {
        settings: &settings,
        body: None,
        bindings: &Bindings::default(),
        facts: &HostFacts::default(),
    };
    let addresses = addresses.into_iter();
    FlowCut {
        addresses: addresses
            .map(|(text, extent)| (address(text.as_ref()), extent))
            .collect(),
        inside: Desired::from_inputs(&inputs).inside,
        ..FlowCut::default()
    }
}

fn address(text: &str) -> Address {
    text.parse()
        .unwrap_or_else(|error| unreachable!("{text}: {error}"))
}

fn socket(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|error| unreachable!("{text}: {error}"))
}

/// None, and no error: the forwarder then refuses the question.
pub async fn an_unknown_flow_has_no_original_destination(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    for protocol in [TransportProtocol::Udp, TransportProtocol::Tcp] {
        for (source, local) in [
            ([10, 244, 1, 7].into(), [10, 244, 1, 1].into()),
            (ipv6(7), ipv6(1)),
        ] {
            let found = host
                .original_destination(protocol, (source, 4321).into(), (local, 5300).into())
                .await?;
            assert_eq!(found, None);
        }
    }
    Ok(())
}

fn ipv6(last: u16) -> std::net::IpAddr {
    std::net::Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, last).into()
}
