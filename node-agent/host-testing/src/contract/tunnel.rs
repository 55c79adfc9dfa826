//! WireGuard devices, as far as a host without a tunnel process shows them.

use postern_intent::WgKey;
use postern_plan::host::{TunnelConfig, TunnelPeer};

use super::{CaseResult, DEVICE, OtherProgram, device, tunnel_up};
use postern_host::error::{HostCause, HostError, Nature};
use postern_host::ports::Host;

fn peer() -> Result<WgKey, HostError> {
    // The public key of RFC 7748, section 6.1, Alice.
    "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
        .parse()
        .map_err(|_| HostError::ReadTunnel {
            link: device(DEVICE),
            source: HostCause::Answer {
                what: "the key of the case",
            },
        })
}

/// None, whether or not the device is there.
pub async fn a_tunnel_that_nobody_serves_does_not_answer(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    assert_eq!(host.read_tunnel(&device(DEVICE)).await?, None);
    tunnel_up(host).await?;
    assert_eq!(host.read_tunnel(&device(DEVICE)).await?, None);
    Ok(())
}

/// The tunnel process may come back at any moment.
pub async fn configuring_a_tunnel_that_nobody_serves_may_work_later(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    tunnel_up(host).await?;
    let peers = vec![TunnelPeer {
        public_key: peer()?,
        endpoint: None,
        allowed_ips: Vec::new(),
        keepalive_seconds: None,
    }];
    let config = TunnelConfig {
        interface: device(DEVICE),
        listen_port: None,
        fwmark: 0x70,
        own_key: None,
        peers,
    };
    let outcome = host.configure_tunnel(&config).await;
    assert_eq!(
        outcome.as_ref().err().map(HostError::nature),
        Some(Nature::Transient),
        "{outcome:?}"
    );
    Ok(())
}

/// A tunnel that is not served sends nothing.
pub async fn a_peer_of_a_tunnel_that_nobody_serves_is_removed_already(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    host.remove_peer(&device(DEVICE), &peer()?).await
}

/// Before a device is removed it is dismissed, served or not.
pub async fn dismissing_a_tunnel_that_nobody_serves_is_no_error(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    host.dismiss_tunnel(&device(DEVICE)).await
}
