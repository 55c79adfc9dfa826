//! Frames that announce an address to neighbours. The kernel sends none by default.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_base::MacAddr;
use pnet_datalink::{Channel, Config, NetworkInterface};
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, NdpOption, NdpOptionTypes, NeighborAdvertFlags,
};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;
use postern_host::error::HostCause;
use postern_intent::{Address, IfName};
use postern_plan::host::MacAddress;

/// Lengths in bytes.
const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
/// A neighbour advertisement with the option that has the MAC address (RFC 4861, sections 4.4 and 4.6.1).
const ADVERT: usize = 24 + 8;

/// All hosts of a link (RFC 4291, section 2.7.1), and the MAC address of that group (RFC 2464, section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 1);

/// Sends one announcement.
pub(crate) fn send(
    device: &IfName,
    index: u32,
    mac: MacAddress,
    address: Address,
) -> Result<(), HostCause> {
    let interface = NetworkInterface {
        name: device.to_string(),
        description: String::new(),
        index,
        mac: None,
        ips: Vec::new(),
        flags: 0,
    };
    let config = Config {
        promiscuous: false,
        ..Config::default()
    };
    let Channel::Ethernet(mut sender, _) = pnet_datalink::channel(&interface, config)? else {
        return Err(HostCause::Answer {
            what: "no channel of Ethernet frames",
        });
    };
    let [a, b, c, d, e, f] = mac.0;
    let mac = MacAddr(a, b, c, d, e, f);
    let frame = match address {
        Address::V4(ip) => arp(mac, ip),
        Address::V6(ip) => advert(mac, ip),
    };
    let frame = frame.ok_or(HostCause::Answer {
        what: "the frame is too short",
    })?;
    let sent = sender.send_to(&frame, None);
    Ok(sent.unwrap_or_else(|| Err(io::ErrorKind::WriteZero.into()))?)
}

/// A request for one's own address, which every neighbour reads (RFC 5227, section 2.3).
fn arp(mac: MacAddr, address: Ipv4Addr) -> Option<Vec<u8>> {
    let mut frame = vec![0; ETHERNET + ARP];
    let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
    ethernet.set_destination(MacAddr::broadcast());
    ethernet.set_source(mac);
    ethernet.set_ethertype(EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(frame.get_mut(ETHERNET..)?)?;
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(ArpOperations::Request);
    arp.set_sender_hw_addr(mac);
    arp.set_sender_proto_addr(address);
    arp.set_target_proto_addr(address);
    Some(frame)
}

/// An unsolicited advertisement that overrides what neighbours knew.
fn advert(mac: MacAddr, address: Ipv6Addr) -> Option<Vec<u8>> {
    let mut frame = vec![0; ETHERNET + IPV6 + ADVERT];
    let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
    ethernet.set_destination(ALL_NODES_MAC);
    ethernet.set_source(mac);
    ethernet.set_ethertype(EtherTypes::Ipv6);
    let mut ip = MutableIpv6Packet::new(frame.get_mut(ETHERNET..)?)?;
    ip.set_version(6);
    ip.set_payload_length(u16::try_from(ADVERT).ok()?);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    // Others are dropped: they may have come through a router (RFC 4861, section 7.1.2).
    ip.set_hop_limit(255);
    ip.set_source(address);
    ip.set_destination(ALL_NODES);
    let body = frame.get_mut(ETHERNET + IPV6..)?;
    let mut advert = MutableNeighborAdvertPacket::new(body)?;
    advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    advert.set_flags(NeighborAdvertFlags::Override);
    advert.set_target_addr(address);
    advert.set_options(&[NdpOption {
        option_type: NdpOptionTypes::TargetLLAddr,
        length: 1,
        data: mac.octets().to_vec(),
    }]);
    let sum = checksum(
        &Icmpv6Packet::new(frame.get(ETHERNET + IPV6..)?)?,
        &address,
        &ALL_NODES,
    );
    let body = frame.get_mut(ETHERNET + IPV6..)?;
    MutableNeighborAdvertPacket::new(body)?.set_checksum(sum);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 7);

    fn hex(bytes: &[u8]) -> String {
        postern_intent::hex(bytes)
    }

    #[test]
    fn an_address_of_ipv4_is_announced_by_a_request_for_itself() {
        let frame = arp(MAC, Ipv4Addr::new(192, 0, 2, 10)).unwrap();
        let expected = [
            "ffffffffffff020000000007",
            "0806",
            "0001080006040001",
            "020000000007c000020a",
            "000000000000c000020a",
        ];
        assert_eq!(hex(&frame), expected.concat());
    }

    #[test]
    fn an_address_of_ipv6_is_announced_by_an_advertisement_that_overrides() {
        let frame = advert(MAC, "2001:db8::10".parse().unwrap()).unwrap();
        let expected = [
            "333300000001020000000007",
            "86dd",
            "60000000",
            "00203aff",
            "20010db8000000000000000000000010",
            "ff020000000000000000000000000001",
            "8800",
        ];
        assert!(
            hex(&frame).starts_with(&expected.concat()),
            "{}",
            hex(&frame)
        );
        let rest = [
            "20000000",
            "20010db8000000000000000000000010",
            "0201020000000007",
        ];
        assert!(hex(&frame).ends_with(&rest.concat()), "{}", hex(&frame));
    }
}
