//! Ways past netfilter are found on the kernel: each case in a network namespace of its own, as root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::programs::SchedClassifier;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{TcAttachOptions, TcAttachType};
use namespace::{host, run, within};
use object::write::{Object, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use postern_host::bypass::{Bypass, Direction};
use postern_host::ports::Paths;
use postern_intent::IfName;

fn tc(arguments: &str) {
    run("tc", &arguments.split_whitespace().collect::<Vec<_>>());
}

fn ip(arguments: &str) {
    run("ip", &arguments.split_whitespace().collect::<Vec<_>>());
}

/// Two pods' links on the host and an uplink.
fn wired() {
    for name in ["veth1", "veth2", "uplink"] {
        ip(&format!("link add {name} type veth peer name {name}p"));
        ip(&format!("link set {name} up"));
    }
}

async fn bypasses(names: &[&str]) -> BTreeMap<String, Bypass> {
    let folder = tempfile::tempdir().unwrap();
    let links: BTreeSet<IfName> = names.iter().map(|name| name.parse().unwrap()).collect();
    let found = host(folder.path()).await.bypasses(&links).await.unwrap();
    found
        .into_iter()
        .map(|(name, bypass)| (name.to_string(), bypass))
        .collect()
}

fn one(name: &str, bypass: Bypass) -> BTreeMap<String, Bypass> {
    BTreeMap::from([(name.to_owned(), bypass)])
}

#[test]
fn a_redirect_from_a_pods_link_to_the_uplink_is_found_and_its_neighbour_is_clean() {
    within(|| async {
        wired();
        tc("qdisc add dev veth1 clsact");
        tc(
            "filter add dev veth1 ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev uplink",
        );
        let redirect = Bypass::Redirect {
            direction: Direction::Ingress,
            to: "uplink".to_owned(),
        };
        assert_eq!(bypasses(&["veth1", "veth2"]).await, one("veth1", redirect));
        assert_eq!(
            bypasses(&["veth2"]).await,
            BTreeMap::new(),
            "only what was asked for is looked at"
        );
        tc("filter del dev veth1 ingress");
        assert_eq!(
            bypasses(&["veth1", "veth2"]).await,
            BTreeMap::new(),
            "it is gone"
        );
    });
}

#[test]
fn a_redirect_of_a_later_chain_and_priority_at_egress_is_found() {
    within(|| async {
        wired();
        tc("qdisc add dev veth1 clsact");
        tc("filter add dev veth1 egress protocol ip pref 1 u32 match u32 0 0 classid 1:1");
        tc(
            "filter add dev veth1 egress protocol ip pref 9 chain 7 u32 match u32 0 0 action mirred egress redirect dev uplink",
        );
        let redirect = Bypass::Redirect {
            direction: Direction::Egress,
            to: "uplink".to_owned(),
        };
        assert_eq!(bypasses(&["veth1"]).await, one("veth1", redirect));
    });
}

#[test]
fn a_mirror_at_the_older_ingress_discipline_is_found_once_and_as_ingress() {
    within(|| async {
        wired();
        tc("qdisc add dev veth1 ingress");
        tc(
            "filter add dev veth1 parent ffff: protocol ip u32 match u32 0 0 action mirred egress mirror dev uplink",
        );
        let mirror = Bypass::Mirror {
            direction: Direction::Ingress,
            to: "uplink".to_owned(),
        };
        assert_eq!(bypasses(&["veth1"]).await, one("veth1", mirror));
    });
}

#[test]
fn disciplines_without_a_redirect_are_no_bypass() {
    within(|| async {
        wired();
        tc("qdisc add dev veth1 clsact");
        tc("filter add dev veth1 ingress protocol ip u32 match u32 0 0 classid 1:1");
        tc("qdisc add dev veth2 root pfifo");
        assert_eq!(
            bypasses(&["veth1", "veth2", "uplink"]).await,
            BTreeMap::new()
        );
    });
}

#[test]
fn a_bpf_program_is_found() {
    within(|| async {
        wired();
        tc("qdisc add dev veth1 clsact");
        // One instruction of classic BPF, `ret 0`, needs no compiler.
        run(
            "tc",
            &[
                "filter",
                "add",
                "dev",
                "veth1",
                "ingress",
                "bpf",
                "bytecode",
                "1,6 0 0 0,",
            ],
        );
        let program = Bypass::Program {
            direction: Direction::Ingress,
            name: String::new(),
        };
        assert_eq!(bypasses(&["veth1", "veth2"]).await, one("veth1", program));
    });
}

#[test]
fn a_redirect_to_an_ifb_is_shaping_and_no_bypass() {
    within(|| async {
        wired();
        ip("link add shaper type ifb");
        tc("qdisc add dev veth1 clsact");
        tc(
            "filter add dev veth1 ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev shaper",
        );
        assert_eq!(bypasses(&["veth1"]).await, BTreeMap::new());
    });
}

/// A process in a network namespace of its own, which ends with it.
struct Pod(std::process::Child);

impl Pod {
    fn new() -> Self {
        let child = std::process::Command::new("unshare")
            .args(["-n", "sleep", "60"])
            .spawn()
            .unwrap();
        // Until it has left this namespace.
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{}/ns/net", child.id())).ok() == Some(own.clone()) {
            std::thread::yield_now();
        }
        Self(child)
    }

    fn takes(&self, link: &str) {
        ip(&format!("link set {link} netns {}", self.0.id()));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_pod_with_another_interface_is_found_and_one_with_its_own_only_is_clean() {
    within(|| async {
        wired();
        let (one_pod, other_pod) = (Pod::new(), Pod::new());
        one_pod.takes("veth1p");
        other_pod.takes("veth2p");
        assert_eq!(bypasses(&["veth1", "veth2"]).await, BTreeMap::new());
        ip("link add link uplink name mv0 type macvlan mode bridge");
        one_pod.takes("mv0");
        let second = |name: &str| Bypass::SecondInterface {
            name: name.to_owned(),
        };
        assert_eq!(
            bypasses(&["veth1", "veth2"]).await,
            one("veth1", second("mv0"))
        );
        other_pod.takes("uplinkp");
        let both = bypasses(&["veth1", "veth2"]).await;
        assert_eq!(
            both["veth2"],
            second("uplinkp"),
            "a veth of Multus's bridge"
        );
    });
}

/// An object file with a program `past_guard` that passes every packet on: `r0 = -1` (`TC_ACT_UNSPEC`), `exit`.
fn program() -> Vec<u8> {
    const CODE: [u8; 16] = [
        0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    let code = object.add_section(Vec::new(), b"classifier".to_vec(), SectionKind::Text);
    object.append_section_data(code, &CODE, 8);
    object.add_symbol(Symbol {
        name: b"past_guard".to_vec(),
        value: 0,
        size: CODE.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(code),
        flags: SymbolFlags::None,
    });
    object.write().unwrap()
}

/// The kernel detaches a program from a work queue after the last descriptor of its link was closed.
async fn becomes_clean(link: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while bypasses(&[link]).await != BTreeMap::new() {
        assert!(Instant::now() < deadline, "a program stays on {link}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_program_that_is_attached_by_tcx_is_found_with_its_name_and_direction_until_it_goes() {
    within(|| async {
        wired();
        for (place, direction) in [
            (TcAttachType::Ingress, Direction::Ingress),
            (TcAttachType::Egress, Direction::Egress),
        ] {
            assert_eq!(bypasses(&["veth2"]).await, BTreeMap::new());
            let mut loaded = Ebpf::load(&program()).unwrap();
            let classifier: &mut SchedClassifier = loaded
                .program_mut("past_guard")
                .unwrap()
                .try_into()
                .unwrap();
            classifier.load().unwrap();
            let order = TcAttachOptions::TcxOrder(LinkOrder::default());
            classifier
                .attach_with_options("veth1", place, order)
                .unwrap();
            let name = "past_guard".to_owned();
            let found = one("veth1", Bypass::Tcx { direction, name });
            assert_eq!(bypasses(&["veth1", "veth2"]).await, found);
            drop(loaded);
            becomes_clean("veth1").await;
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(host(folder.path()).await.knows_tcx().await, Ok(true));
    });
}
