//! A cut in a table that has no place left, in a network namespace, as root.
//!
//! The size of the table is one number for all namespaces, and only the first one may change it. So the table of the test's
//! namespace is filled, with entries that the kernel does not drop for others.

use std::net::{Ipv4Addr, SocketAddrV4};

use netlink_sys::{Socket, SocketAddr as KernelAddress};
use nix::sched::{CloneFlags, unshare};
use postern_plan::flow::CutExtent;

use super::*;
use crate::host::{BackendPreference, LinuxOptions};
use crate::netlink::{nest, parse, put, u32_at};
use crate::tunnel::PrivateKey;

/// `IPCTNL_MSG_CT_NEW` of `NFNL_SUBSYS_CTNETLINK`.
const NEW: u16 = 1 << 8;
/// `NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL`, and with `NLM_F_ACK`.
const MAKE: u16 = 0x601;
const MAKE_AND_ANSWER: u16 = 0x605;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const TIMEOUT: u16 = 7;
/// `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED`: such an entry is not dropped where there is no place for another one.
const ASSURED: u32 = 2 | 4 | 8;
const SECONDS: u32 = 600;
const UDP: u8 = 17;
/// So many are made by one datagram: the errors of all of them fit into the socket's buffer.
const AT_ONCE: u32 = 128;

fn tuple(out: &mut Vec<u8>, kind: u16, source: SocketAddrV4, destination: SocketAddrV4) {
    nest(out, kind, |tuple| {
        nest(tuple, 1, |ip| {
            put(ip, 1, &source.ip().octets());
            put(ip, 2, &destination.ip().octets());
        });
        nest(tuple, 2, |inner| {
            put(inner, 1, &[UDP]);
            put(inner, 2, &source.port().to_be_bytes());
            put(inner, 3, &destination.port().to_be_bytes());
        });
    });
}

/// A request for an entry, with netlink's header.
fn entry(flags: u16, source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
    let mut body = wire::header(Family::V4);
    tuple(&mut body, TUPLE_ORIGINAL, source, destination);
    tuple(&mut body, TUPLE_REPLY, destination, source);
    put(&mut body, STATUS, &ASSURED.to_be_bytes());
    put(&mut body, TIMEOUT, &SECONDS.to_be_bytes());
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut out = Vec::new();
    out.extend(length.to_ne_bytes());
    out.extend(NEW.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 8]);
    out.extend(body);
    out
}

/// Makes entries; the first error of the kernel, if there is one.
fn make(socket: &mut Socket, flows: &[(SocketAddrV4, SocketAddrV4)]) -> Option<i32> {
    let (last, rest) = flows.split_last().unwrap();
    let mut datagram: Vec<u8> = Vec::new();
    for (source, destination) in rest {
        datagram.extend(entry(MAKE, *source, *destination));
    }
    datagram.extend(entry(MAKE_AND_ANSWER, last.0, last.1));
    socket
        .send_to(&datagram, &KernelAddress::new(0, 0), 0)
        .unwrap();
    let mut failed = None;
    // Each error is a message of its own, and the last entry's outcome ends them; it is the only one that may be none.
    loop {
        let (answer, _) = socket.recv_from_full().unwrap();
        for (_, message) in parse(&answer) {
            let number = u32_at(&message.body, 0).unwrap().cast_signed();
            if number != 0 {
                failed.get_or_insert(-number);
            }
            // The request's length, flags and tuple are repeated in the outcome.
            let flags = netlink::u16_at(&message.body, 4 + 6);
            if flags == Some(MAKE_AND_ANSWER) {
                return failed;
            }
        }
    }
}

/// Fills the table with flows of others until the kernel has no place for one; how many there were.
fn fill(socket: &mut Socket) -> u32 {
    let world = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 1), 443);
    let of_others = |number: u32| {
        let host = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 0)) + number / 1000);
        let port = u16::try_from(1000 + number % 1000).unwrap();
        (SocketAddrV4::new(host, port), world)
    };
    let mut made = 0;
    loop {
        let flows: Vec<_> = (made..made + AT_ONCE).map(of_others).collect();
        match make(socket, &flows) {
            None => made += AT_ONCE,
            Some(errno::ENOMEM) => return made,
            Some(other) => panic!("errno {other} after {made} entries"),
        }
    }
}

/// How many entries the kernel sends for requests.
async fn sent(requests: &[Vec<u8>]) -> usize {
    let mut all = 0;
    for request in requests {
        let listed = netlink::dump(NETLINK_NETFILTER, wire::GET, request).await;
        all += listed.unwrap().len();
    }
    all
}

/// Entries in the table of the namespace.
fn count() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    text.trim().parse().unwrap()
}

fn within(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of one's own needs root");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(broken) = thread.join() {
        std::panic::resume_unwind(broken);
    }
}

#[test]
fn a_cut_in_a_full_table_reads_and_takes_the_entries_of_its_addresses_and_no_other() {
    within(async || {
        let pod = Ipv4Addr::new(10, 244, 1, 3);
        let world = Ipv4Addr::new(203, 0, 113, 9);
        let at = SocketAddrV4::new;
        let own = [
            (at(pod, 40000), at(world, 443)),
            (at(pod, 40001), at(world, 53)),
            (at(world, 5000), at(pod, 80)),
        ];
        let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
        socket.bind_auto().unwrap();
        assert_eq!(make(&mut socket, &own), None);
        let others = fill(&mut socket);
        let before = count();
        assert!(before >= others + 3, "{before}");

        let address = Address::from(std::net::IpAddr::from(pod));
        let asked = requests(Family::V4, &[address].into(), &FlowCut::default());
        assert_eq!(sent(&asked).await, own.len(), "of {before}");
        let all = sent(&[wire::header(Family::V4)]).await;
        assert!(all > 1000 * own.len(), "without a filter: {all}");

        let folder = tempfile::tempdir().unwrap();
        let host = LinuxHost::new(LinuxOptions {
            run_dir: folder.path().to_owned(),
            private_key: PrivateKey::from_bytes([7; 32]),
            backend: BackendPreference::Userspace,
        });
        let cut = FlowCut {
            addresses: [(address, CutExtent::BothWays)].into(),
            ..FlowCut::default()
        };
        assert_eq!(host.cut_flows(&cut).await.unwrap(), own.len());
        assert_eq!(sent(&asked).await, 0);
        assert_eq!(count(), before - 3, "others' flows go on");
    });
}
