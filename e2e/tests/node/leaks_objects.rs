//! Another program removes what the agent owns, object by object: repaired, counted, and nothing leaks meanwhile.

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::lab::{Lab, UpOptions};
use postern_e2e::proof::harness::{After, FLOWS, Series, TestLab, WAIT_DEADLINE, wait_until};

/// Everything that the agent owns on a node, as sorted words: the order in which nft lists a hash changes.
const OWNED: &str = r#"{
nft -s list table inet postern | sed 's/timeout [0-9a-z]*//g'; nft -s list table bridge postern
nft -s list table arp postern
ip rule; ip -6 rule; ip route show table 5210; ip -6 route show table 5210; ip xfrm policy
ip address show pst-c-eu; cat /proc/sys/net/ipv4/conf/pst-c-eu/rp_filter
} | tr -s ' ,\t' '\n' | sort"#;

/// A command of another program on one kind of object. The pod's addresses are its node's second ones: the resolver
/// came first.
const REMOVALS: [(&str, &str); 22] = [
    ("guard chain flushed", "nft flush chain inet postern guard"),
    ("base chain deleted", "nft delete chain inet postern last"),
    (
        "guard rule deleted",
        "nft delete rule inet postern guard handle \
         $(nft -a list chain inet postern guard | sed -n 's/.*vmap @from4.*handle //p')",
    ),
    (
        "foreign rule inserted",
        "nft insert rule inet postern guard accept",
    ),
    (
        "policy of a chain changed to drop",
        "nft add chain inet postern guard '{ type filter hook forward priority -5; policy drop; }'",
    ),
    (
        "element of from4 removed",
        "nft 'delete element inet postern from4 { 10.244.1.3 }'",
    ),
    (
        "element of steer4 removed",
        "nft 'delete element inet postern steer4 { 10.244.1.3 }'",
    ),
    (
        "element of last4 removed",
        "nft 'delete element inet postern last4 { 10.244.1.3 }'",
    ),
    (
        "element of lease removed",
        "nft 'delete element inet postern lease { ipv4 }'",
    ),
    (
        "element of the bridge's bind4 removed",
        "nft delete element bridge postern bind4 \
         \"{ $(nft list set bridge postern bind4 | grep -o '\"veth[^,}]*10.244.1.3') }\"",
    ),
    ("ARP table deleted", "nft delete table arp postern"),
    ("ARP chain flushed", "nft flush chain arp postern asked"),
    (
        "routing rule by mark removed",
        "ip rule delete priority 10010",
    ),
    (
        "routing rule by source removed",
        "ip -6 rule delete priority 10005",
    ),
    (
        "route into the tunnel removed",
        "ip route delete default dev pst-c-eu table 5210",
    ),
    (
        "unreachable route removed",
        "ip -6 route delete unreachable default table 5210 metric 4278198272",
    ),
    (
        "XFRM policy removed",
        "ip xfrm policy delete src 10.244.1.0/24 dst 0.0.0.0/0 dir fwd",
    ),
    (
        "XFRM policy turned into an allow",
        "ip xfrm policy update src 10.244.1.0/24 dst 0.0.0.0/0 dir fwd priority 3000 action allow",
    ),
    ("every XFRM policy flushed", "ip xfrm policy flush"),
    (
        "tunnel address removed",
        "ip address delete 198.18.0.2/32 dev pst-c-eu",
    ),
    (
        "device setting changed",
        "echo 1 > /proc/sys/net/ipv4/conf/pst-c-eu/rp_filter",
    ),
    ("device set down", "ip link set pst-c-eu down"),
];

/// Runs such a command, and waits until everything is as it was and the report has counted the repair.
fn repaired(
    lab: &Lab,
    owned: &dyn Fn(&Lab) -> Result<String, LabError>,
    act: &dyn Fn(&Lab) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let (before, counted) = (owned(lab)?, lab.repairs("n1"));
    act(lab)?;
    wait_until(WAIT_DEADLINE, "the repair of what was removed", || {
        // A part that is away cannot be listed.
        Ok((owned(lab).ok().as_ref() == Some(&before)).then_some(()))
    })?;
    lab.await_report("n1", "the repair in the report", |_| {
        lab.repairs("n1") > counted
    })
    .map(drop)
}

fn tunnel(lab: &Lab, request: &str) -> Result<String, LabError> {
    lab.ask_tunnel("n1", "pst-c-eu", request)
}

fn peers(lab: &Lab) -> Result<String, LabError> {
    let answer = tunnel(lab, "get=1\n\n")?;
    let peers = answer
        .lines()
        .filter_map(|line| line.strip_prefix("public_key="));
    Ok(peers.collect())
}

#[test]
fn what_somebody_else_removes_is_repaired_and_counted_and_nothing_leaks_meanwhile() {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    assert_eq!(sender.pod.addresses[0].to_string(), "10.244.1.3");
    let mut series = Series::begin(&lab, "owned-objects").unwrap();
    for (event, line) in REMOVALS {
        let act = |lab: &Lab| {
            repaired(lab, &|lab| lab.shell("n1", OWNED), &|lab| {
                lab.shell("n1", line).map(drop)
            })
        };
        series.prove(event, &sender, After::Flows, act).unwrap();
    }
    let remove = |lab: &Lab| {
        let key = peers(lab)?;
        tunnel(lab, &format!("set=1\npublic_key={key}\nremove=true\n\n")).map(drop)
    };
    let act = |lab: &Lab| repaired(lab, &peers, &remove);
    series
        .prove("tunnel peer removed", &sender, After::Flows, act)
        .unwrap();
    let last = Timestamp::now();
    sender.await_answers(&FLOWS, last, WAIT_DEADLINE).unwrap();
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}
