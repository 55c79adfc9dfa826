//! What a node's kernel and file system have, without what comes and goes with pods and Services.

use std::collections::BTreeMap;

use postern_e2e::lab::{Exec, Lab};

/// Commands whose answers are the same before an installation and after a removal. Links of pods, kube-proxy's rules
/// and counters change by themselves; a CNI configuration has the same content, and the layout of whoever wrote it last.
const QUESTIONS: &[(&str, &str)] = &[
    ("tables", "nft list tables | sort"),
    ("rules", "ip rule; ip -6 rule"),
    (
        "routes",
        "{ ip route show table all; ip -6 route show table all; } | grep -v -e veth -e fe80: | sed 's/ expires [0-9]*sec//'",
    ),
    (
        "links",
        "ip -o link | sed -E 's/^[0-9]+: ([^:@]*).*/\\1/' | grep -v veth",
    ),
    ("xfrm", "ip xfrm policy"),
    (
        "switches",
        "sysctl -a -r 'net.ipv[46].conf.(all|default|eth0|cni0)' 2>/dev/null | grep -v -e stable_secret",
    ),
    (
        "CNI configurations",
        "cd /etc/cni/net.d && ls && jq --sort-keys . *",
    ),
    ("CNI programs", "ls /opt/cni/bin"),
    (
        "folders",
        "ls -d /var/lib/postern/* /run/postern/* 2>/dev/null | grep -v /run/postern/inbox || true",
    ),
];

/// The answers, by what was asked.
pub(super) type Host = BTreeMap<&'static str, String>;

pub(super) fn host(lab: &Lab, node: &str) -> Host {
    let answers = QUESTIONS.iter().map(|(name, line)| {
        let answer = lab.exec_ok(Exec::Node(node), &["sh", "-c", line]);
        (*name, answer.unwrap())
    });
    answers.collect()
}
