//! XFRM policies as bytes, by `include/uapi/linux/xfrm.h`. Numbers are in the host's byte order, addresses are not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use postern_intent::Prefix;
use postern_plan::host::{Family, LockAction, LockPolicy, MaskedMark};
use postern_plan::settings::LOCK_BLOCK_PRIORITY;

use crate::netlink::{attribute, put, u16_at, u32_at};

/// `XFRM_MSG_NEWPOLICY`.
pub(super) const NEW: u16 = 0x13;
/// `XFRM_MSG_DELPOLICY`.
pub(super) const DELETE: u16 = 0x14;
/// `XFRM_MSG_UPDPOLICY`: as [`NEW`], and takes the place of the one that is there.
pub(super) const UPDATE: u16 = 0x19;
/// `XFRM_MSG_GETPOLICY`.
pub(super) const GET: u16 = 0x15;

/// `XFRM_POLICY_FWD`.
const FORWARD: u8 = 2;
/// `XFRMA_MARK`.
const MARK: u16 = 21;
/// Bits of the index of our policies, and room for the hash.
const OUR_INDEX: u32 = 0x5000_0000;
const OUR_HASH: u32 = 0x00ff_ffff;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `struct xfrm_selector`.
const SELECTOR: usize = 56;
/// `struct xfrm_selector`, `xfrm_lifetime_cfg` (64) and `xfrm_lifetime_cur` (32): what stands before the priority.
const PRIORITY: usize = SELECTOR + 64 + 32;
/// `struct xfrm_userpolicy_info` with its padding.
const POLICY: usize = 168;

/// `struct xfrm_userpolicy_info` with `XFRMA_MARK`.
pub(super) fn policy(policy: &LockPolicy) -> Vec<u8> {
    let mut out = selector(policy);
    // Soft and hard limits of bytes and of packets: none (`XFRM_INF`). 0 would expire the policy at once.
    out.extend([0xff; 32]);
    // Soft and hard limits of time since it was added and used: 0 is none. Then what was counted so far.
    out.extend([0; 32 + 32]);
    out.extend(policy.priority.to_ne_bytes());
    out.extend(index(policy).to_ne_bytes());
    out.extend([FORWARD, action_number(policy.action), 0, 0]);
    out.resize(POLICY, 0);
    put_mark(&mut out, policy.mark);
    out
}

/// `struct xfrm_userpolicy_id` with `XFRMA_MARK`: what the kernel deletes by.
pub(super) fn identity(policy: &LockPolicy) -> Vec<u8> {
    let mut out = selector(policy);
    out.extend(index(policy).to_ne_bytes());
    out.extend([FORWARD, 0, 0, 0]);
    put_mark(&mut out, policy.mark);
    out
}

const fn action_number(action: LockAction) -> u8 {
    match action {
        LockAction::Allow => 0,
        LockAction::Block => 1,
    }
}

fn put_mark(out: &mut Vec<u8>, mark: Option<MaskedMark>) {
    if let Some(MaskedMark { value, mask }) = mark {
        put(
            out,
            MARK,
            &[value.to_ne_bytes(), mask.to_ne_bytes()].concat(),
        );
    }
}

/// `struct xfrm_selector`: destination, source, ports, family, lengths, protocol, interface, user.
fn selector(policy: &LockPolicy) -> Vec<u8> {
    let mut out = Vec::with_capacity(POLICY + 12);
    out.extend(octets(&policy.destination));
    out.extend(octets(&policy.source));
    out.extend([0; 8]);
    let family = match Family::of_prefix(&policy.source) {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    };
    out.extend(family.to_ne_bytes());
    out.extend([
        policy.destination.net().prefix_len(),
        policy.source.net().prefix_len(),
    ]);
    out.resize(SELECTOR, 0);
    out
}

fn octets(prefix: &Prefix) -> [u8; 16] {
    match prefix.net().addr() {
        IpAddr::V4(address) => {
            let mut out = [0; 16];
            out[..4].copy_from_slice(&address.octets());
            out
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The number that the kernel knows a policy of ours by. It takes the one that is asked for where that is free, so that it says
/// whose a policy is: priorities and marks are anybody's. Its last three bits are the direction
/// (`xfrm_policy_id2dir` in `net/xfrm/xfrm_user.c`); the rest are our bits and a hash (FNV-1a) of selector and mark, by which
/// the kernel tells policies apart.
fn index(policy: &LockPolicy) -> u32 {
    let mut identity = selector(policy);
    put_mark(&mut identity, policy.mark);
    let hash = identity.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    OUR_INDEX | (hash & OUR_HASH) << 3 | u32::from(FORWARD)
}

/// Somebody else's policy that a forwarded packet meets before ours: which packets, at which priority. None for ours and for
/// what ours come before.
pub(super) fn overruling(body: &[u8]) -> Option<LockPolicy> {
    let policy = forwarding(body)?;
    let blocks = policy.action == LockAction::Block;
    (!is_ours(body) && !blocks && policy.priority <= LOCK_BLOCK_PRIORITY).then_some(policy)
}

fn is_ours(body: &[u8]) -> bool {
    u32_at(body, PRIORITY + 4)
        .is_some_and(|index| index & !(OUR_HASH << 3) == OUR_INDEX | u32::from(FORWARD))
}

/// A policy of ours, or none.
pub(super) fn decode(body: &[u8]) -> Option<LockPolicy> {
    forwarding(body).filter(|_| is_ours(body))
}

/// A policy for forwarded packets, whatever else it looks at.
fn forwarding(body: &[u8]) -> Option<LockPolicy> {
    let direction = *body.get(PRIORITY + 8)?;
    let action = match *body.get(PRIORITY + 9)? {
        0 => LockAction::Allow,
        1 => LockAction::Block,
        _ => return None,
    };
    let rest = body.get(POLICY..).unwrap_or_default();
    let priority = u32_at(body, PRIORITY)?;
    if direction != FORWARD {
        return None;
    }
    let family = u16_at(body, 40)?;
    let destination = prefix(family, body.get(..16)?, *body.get(42)?)?;
    let source = prefix(family, body.get(16..32)?, *body.get(43)?)?;
    let mark = attribute(rest, MARK)
        .and_then(|value| {
            Some(MaskedMark {
                value: u32_at(value, 0)?,
                mask: u32_at(value, 4)?,
            })
        })
        .filter(|mark| mark.mask != 0);
    Some(LockPolicy {
        source,
        destination,
        priority,
        action,
        mark,
    })
}

fn prefix(family: u16, octets: &[u8], length: u8) -> Option<Prefix> {
    let address: IpAddr = match family {
        AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(octets.get(..4)?).ok()?).into(),
        AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
        _ => return None,
    };
    Some(Prefix::from(IpNet::new(address, length).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::bytes;
    use postern_plan::settings::LOCK_MARK_PRIORITY;

    /// `strace -e trace=sendmsg -xx ip xfrm policy add src 10.244.1.0/24 dst 0.0.0.0/0 dir fwd priority
    /// 2000 mark 0x60 mask 0x70`, iproute2 6.1.
    const ADD: &str = include_str!("../../tests/fixtures/xfrm-add.hex");
    /// The same of `ip xfrm policy delete src ::/0 dst fd00:10:244::/48 dir fwd`.
    const DELETE_V6: &str = include_str!("../../tests/fixtures/xfrm-delete.hex");
    /// A dump (`XFRM_MSG_GETPOLICY`), kernel 6.18, after `ip xfrm policy add src ::/0 dst ::/0 dir fwd
    /// priority 2000 mark 0x60 mask 0x70`.
    const MARKED: &str = include_str!("../../tests/fixtures/xfrm-marked.hex");
    /// After `ip xfrm policy add src 10.0.0.0/8 dst 10.2.0.0/16 dir fwd priority 1000 tmpl src 1.2.3.4 dst
    /// 4.3.2.1 proto esp mode tunnel`.
    const IPSEC: &str = include_str!("../../tests/fixtures/xfrm-ipsec.hex");
    /// After `ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 proto tcp dir fwd priority 3000 action
    /// block`.
    const TCP_ONLY: &str = include_str!("../../tests/fixtures/xfrm-tcp.hex");

    fn marked(source: &str, destination: &str) -> LockPolicy {
        LockPolicy {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            priority: LOCK_MARK_PRIORITY,
            action: LockAction::Allow,
            mark: Some(MaskedMark {
                value: 0x60,
                mask: 0x70,
            }),
        }
    }

    /// The kernel's own number of a policy, which `ip` does not ask for.
    fn with_index(hex: &str, at: usize, policy: &LockPolicy) -> Vec<u8> {
        let mut bytes = bytes(hex);
        bytes[at..at + 4].copy_from_slice(&index(policy).to_ne_bytes());
        bytes
    }

    #[test]
    fn adds_byte_for_byte_what_ip_adds_and_asks_for_a_number_of_ours() {
        let marked = marked("10.244.1.0/24", "0.0.0.0/0");
        assert_eq!(policy(&marked), with_index(ADD, PRIORITY + 4, &marked));
    }

    #[test]
    fn deletes_byte_for_byte_what_ip_deletes_by_our_number() {
        let unmarked = LockPolicy {
            mark: None,
            ..marked("::/0", "fd00:10:244::/48")
        };
        assert_eq!(
            identity(&unmarked),
            with_index(DELETE_V6, SELECTOR, &unmarked)
        );
    }

    #[test]
    fn reads_a_policy_with_a_mark() {
        let wanted = marked("::/0", "::/0");
        let ours = with_index(MARKED, PRIORITY + 4, &wanted);
        assert_eq!(decode(&ours), Some(wanted));
        assert_eq!(overruling(&ours), None);
    }

    #[test]
    fn leaves_others_policies_to_their_owners_whatever_their_numbers_and_tells_which_come_first() {
        assert_eq!(decode(&bytes(MARKED)), None);
        assert_eq!(overruling(&bytes(MARKED)), Some(marked("::/0", "::/0")));
        assert_eq!(decode(&bytes(IPSEC)), None);
        assert!(overruling(&bytes(IPSEC)).is_some());
        assert_eq!(decode(&bytes(TCP_ONLY)), None);
        assert_eq!(overruling(&bytes(TCP_ONLY)), None, "it blocks");
    }

    #[test]
    fn a_message_that_is_cut_short_is_no_policy() {
        let whole = bytes(MARKED);
        for length in [0, 40, PRIORITY, PRIORITY + 9] {
            assert_eq!(forwarding(&whole[..length]), None);
        }
    }
}
