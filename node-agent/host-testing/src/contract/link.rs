//! Links, addresses and switches.

use ipnet::IpNet;
use postern_plan::host::{AdminState, Carrier, DeviceKey, DeviceSetting, ObservedLink};

use super::{CaseResult, DEVICE, OtherProgram, device, refused, tunnel_link, tunnel_up};
use postern_host::error::{HostError, errno};
use postern_host::ports::Host;

async fn seen(host: &impl Host) -> Result<Option<ObservedLink>, HostError> {
    Ok(host
        .list_links()
        .await?
        .into_iter()
        .find(|link| link.name == DEVICE))
}

async fn addresses(host: &impl Host) -> Result<Vec<IpNet>, HostError> {
    let link = seen(host).await?;
    let own = |net: &IpNet| !matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local());
    Ok(link
        .map(|link| link.addresses.into_iter().filter(own).collect())
        .unwrap_or_default())
}

fn net(address: [u8; 4], length: u8) -> IpNet {
    IpNet::new_assert(address.into(), length)
}

fn net6() -> IpNet {
    IpNet::new_assert(
        std::net::Ipv6Addr::new(0xfd64, 0, 0, 0, 0, 0, 0, 5).into(),
        128,
    )
}

/// `ip link show`: a fresh device is `DOWN`, so that addresses and switches are there before its first packet.
pub async fn a_new_tunnel_is_down_and_has_its_mtu(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    host.add_link(&tunnel_link()).await?;
    let link = seen(host).await?;
    let facts = link.as_ref().map(|link| {
        (
            link.kind.as_str(),
            link.mtu,
            link.state,
            link.master.clone(),
        )
    });
    assert_eq!(facts, Some(("tun", 1400, AdminState::Down, None)));
    Ok(())
}

/// `EEXIST`, although the TUN driver would attach to a device that is there.
pub async fn a_link_cannot_be_added_twice(host: &impl Host, _: &impl OtherProgram) -> CaseResult {
    host.add_link(&tunnel_link()).await?;
    refused(
        &host.add_link(&tunnel_link()).await,
        errno::EEXIST,
        "a second device of one name",
    );
    Ok(())
}

/// `ENODEV`.
pub async fn removing_a_link_that_is_not_there_is_refused(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> CaseResult {
    refused(
        &host.remove_link(&device(DEVICE)).await,
        errno::ENODEV,
        "no device",
    );
    host.add_link(&tunnel_link()).await?;
    other_program.removes_link(DEVICE).await;
    refused(
        &host.remove_link(&device(DEVICE)).await,
        errno::ENODEV,
        "no device any more",
    );
    Ok(())
}

/// A TUN has a carrier while a process holds it open: `ip link` shows `NO-CARRIER` otherwise.
pub async fn a_tunnel_that_nobody_serves_has_no_carrier(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    tunnel_up(host).await?;
    let facts = seen(host).await?.map(|link| (link.state, link.carrier));
    assert_eq!(facts, Some((AdminState::Up, Carrier::Absent)));
    Ok(())
}

/// The device need not be made again.
pub async fn a_mtu_changes_in_place(host: &impl Host, _: &impl OtherProgram) -> CaseResult {
    tunnel_up(host).await?;
    let before = seen(host).await?.map(|link| link.index);
    host.set_mtu(&device(DEVICE), 1280).await?;
    let after = seen(host).await?.map(|link| (link.index, link.mtu));
    assert_eq!(after, before.map(|index| (index, 1280)));
    Ok(())
}

/// `EEXIST`.
pub async fn an_address_cannot_be_added_twice(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    tunnel_up(host).await?;
    for address in [net([198, 18, 0, 5], 32), net6()] {
        host.add_address(&device(DEVICE), address).await?;
        refused(
            &host.add_address(&device(DEVICE), address).await,
            errno::EEXIST,
            "a second time",
        );
    }
    assert_eq!(addresses(host).await?, [net([198, 18, 0, 5], 32), net6()]);
    Ok(())
}

/// `EADDRNOTAVAIL`.
pub async fn removing_an_address_that_is_not_there_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    tunnel_up(host).await?;
    for address in [net([198, 18, 0, 5], 32), net6()] {
        refused(
            &host.remove_address(&device(DEVICE), address).await,
            errno::EADDRNOTAVAIL,
            "no such address",
        );
        host.add_address(&device(DEVICE), address).await?;
        host.remove_address(&device(DEVICE), address).await?;
    }
    assert_eq!(addresses(host).await?, []);
    Ok(())
}

/// `ip link set DEV down; ip addr show DEV`: IPv6 addresses go unless `keep_addr_on_down` is set.
pub async fn a_link_that_goes_down_keeps_its_ipv4_and_loses_its_ipv6_addresses(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> CaseResult {
    tunnel_up(host).await?;
    host.add_address(&device(DEVICE), net([198, 18, 0, 5], 32))
        .await?;
    host.add_address(&device(DEVICE), net6()).await?;
    other_program.sets_state(DEVICE, AdminState::Down).await;
    other_program.sets_state(DEVICE, AdminState::Up).await;
    assert_eq!(addresses(host).await?, [net([198, 18, 0, 5], 32)]);
    Ok(())
}

/// Every switch that we set, with both values that we use.
pub async fn a_switch_reads_back_as_it_was_set(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    tunnel_up(host).await?;
    for key in DeviceKey::ALL {
        for value in [1, 0] {
            let setting = DeviceSetting {
                device: device(DEVICE),
                key,
                value,
            };
            host.set_device(&setting).await?;
            assert_eq!(host.get_device(&setting).await?, setting);
        }
    }
    Ok(())
}

/// `ENOENT`: `/proc/sys/net` has no folder for it.
pub async fn a_switch_of_a_missing_device_is_missing(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let setting = DeviceSetting {
        device: device(DEVICE),
        key: DeviceKey::ReversePathFilter,
        value: 2,
    };
    refused(&host.get_device(&setting).await, errno::ENOENT, "no device");
    refused(&host.set_device(&setting).await, errno::ENOENT, "no device");
    Ok(())
}

/// What goes with the state of a link can be put back, and what is there already stays.
pub async fn what_a_link_loses_when_it_goes_down_can_be_put_back(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> CaseResult {
    tunnel_up(host).await?;
    for address in [net([198, 18, 0, 5], 32), net6()] {
        host.add_address(&device(DEVICE), address).await?;
    }
    let config = host.link_config(&device(DEVICE)).await?;
    assert_eq!(config.addresses, [net6()]);
    other_program.sets_state(DEVICE, AdminState::Down).await;
    other_program.sets_state(DEVICE, AdminState::Up).await;
    assert_eq!(addresses(host).await?, [net([198, 18, 0, 5], 32)]);
    host.restore_link(&config).await?;
    host.restore_link(&config).await?;
    assert_eq!(addresses(host).await?, [net([198, 18, 0, 5], 32), net6()]);
    Ok(())
}
