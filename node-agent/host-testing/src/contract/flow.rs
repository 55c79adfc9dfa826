//! Connection tracking, as far as a host without traffic shows it. Real flows are cut in the end-to-end suite.

use std::collections::BTreeSet;

use super::{OtherProgram, Outcome};
use postern_host::ports::{Host, Protocol};

/// An empty table is no error, in either family.
pub async fn nothing_is_cut_where_nothing_flows(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    let addresses = BTreeSet::from([[10, 244, 1, 7].into(), std::net::Ipv6Addr::LOCALHOST.into()]);
    assert_eq!(host.cut_flows(&addresses).await?, 0);
    assert_eq!(host.cut_flows(&BTreeSet::new()).await?, 0);
    Ok(())
}

/// None, and no error: the forwarder then refuses the question.
pub async fn an_unknown_flow_has_no_original_destination(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
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
