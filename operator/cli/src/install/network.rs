//! The network plugin, kube-proxy and what caches names, found by their DaemonSets. docs/compatibility.md has the cases.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::ConfigMap;

use postern_compile::first_names;

use super::check::{CheckResult, InstallCheck};
use super::reading::{InstallReading, ReadPart};

/// A network plugin: its name, the prefix of its DaemonSets' names, and the verdict on it.
struct KnownPlugin {
    name: &'static str,
    daemon_sets: &'static [&'static str],
    result: CheckResult,
    to_do: &'static str,
}

const OVERLAY: &str = "overlays between nodes were not tried as the cluster's own way: try one policy before others depend on it";

const PLUGINS: [KnownPlugin; 7] = [
    KnownPlugin {
        name: "Calico",
        daemon_sets: &["calico-node", "canal"],
        result: CheckResult::Warning,
        to_do: "its links and routes were tried, its eBPF dataplane was not: keep linuxDataplane at Iptables or Nftables",
    },
    KnownPlugin {
        name: "Cilium",
        daemon_sets: &["cilium"],
        result: CheckResult::Refused,
        to_do: "its programs at the pods' links pass packets by netfilter: every selected pod would count as unenforceable, reason DataplaneBypassed",
    },
    KnownPlugin {
        name: "flannel",
        daemon_sets: &["kube-flannel-ds"],
        result: CheckResult::Warning,
        to_do: OVERLAY,
    },
    KnownPlugin {
        name: "kindnet",
        daemon_sets: &["kindnet"],
        result: CheckResult::Passed,
        to_do: "",
    },
    KnownPlugin {
        name: "AWS VPC CNI",
        daemon_sets: &["aws-node"],
        result: CheckResult::Warning,
        to_do: "write the subnets of pods as podRanges into the settings; several network interfaces on one node were not tried",
    },
    KnownPlugin {
        name: "kube-router",
        daemon_sets: &["kube-router"],
        result: CheckResult::Warning,
        to_do: OVERLAY,
    },
    KnownPlugin {
        name: "Antrea or OVN",
        daemon_sets: &["antrea-agent", "ovnkube-node", "kube-ovn-cni"],
        result: CheckResult::Refused,
        to_do: "its pods are behind Open vSwitch, which passes packets by netfilter",
    },
];

pub(super) fn checks(reading: &InstallReading) -> Vec<InstallCheck> {
    let sets = &reading.daemon_sets;
    vec![
        InstallCheck::read("network plugin", sets, |sets| plugin(sets)),
        InstallCheck::read("second networks", sets, |sets| second_networks(sets)),
        InstallCheck::read("service proxy", sets, |sets| {
            proxy(sets, &reading.proxy_configuration)
        }),
        InstallCheck::read("cache of names", sets, |sets| name_cache(sets)),
    ]
}

fn name(set: &DaemonSet) -> String {
    set.metadata.name.clone().unwrap_or_default()
}

/// The DaemonSets with this name, or one that a release's suffix follows.
fn called<'a>(
    sets: &'a [DaemonSet],
    wanted: &'a [&str],
) -> impl Iterator<Item = &'a DaemonSet> + 'a {
    sets.iter().filter(move |set| {
        let name = name(set);
        wanted.iter().any(|wanted| {
            let rest = name.strip_prefix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-ds"))
        })
    })
}

fn plugin(sets: &[DaemonSet]) -> InstallCheck {
    const CHECK: &str = "network plugin";
    let found: Vec<&KnownPlugin> = PLUGINS
        .iter()
        .filter(|plugin| called(sets, plugin.daemon_sets).next().is_some())
        .collect();
    let Some(gravest) = found.iter().max_by_key(|plugin| plugin.result) else {
        return InstallCheck::of(
            CHECK,
            CheckResult::Unknown,
            "no DaemonSet of a known one",
            "look at /etc/cni/net.d on a node: it needs a .conflist whose plugins hand packets to netfilter",
        );
    };
    let names = found.iter().map(|plugin| plugin.name.to_owned());
    InstallCheck::of(CHECK, gravest.result, first_names(names), gravest.to_do)
}

fn second_networks(sets: &[DaemonSet]) -> InstallCheck {
    const CHECK: &str = "second networks";
    let found: Vec<String> = called(sets, &["kube-multus", "multus"]).map(name).collect();
    if found.is_empty() {
        return InstallCheck::passed(CHECK, "no Multus");
    }
    InstallCheck::of(
        CHECK,
        CheckResult::Warning,
        format!("DaemonSet {}", first_names(found)),
        "a selected pod gets no second network: its start is refused, and the Event of the pod has the reason",
    )
}

fn proxy(sets: &[DaemonSet], configuration: &ReadPart<Option<ConfigMap>>) -> InstallCheck {
    const CHECK: &str = "service proxy";
    if called(sets, &["kube-proxy"]).next().is_none() {
        return InstallCheck::of(
            CHECK,
            CheckResult::Unknown,
            "no DaemonSet kube-proxy",
            "what translates addresses of Services has to do so in netfilter before forward; look at the nodes",
        );
    }
    InstallCheck::read(CHECK, configuration, |map| {
        let text = map.as_ref().and_then(|map| map.data.as_ref());
        let text = text.and_then(|data| data.get("config.conf"));
        match text.map(|text| mode(text)) {
            Some("nftables") => InstallCheck::passed(CHECK, "kube-proxy, mode nftables"),
            Some(mode) => {
                let mode = if mode.is_empty() {
                    "iptables, the default"
                } else {
                    mode
                };
                InstallCheck::of(
                    CHECK,
                    CheckResult::Warning,
                    format!("kube-proxy, mode {mode}"),
                    "only nftables was tried; the guard looks at packets after their translation, whoever made it",
                )
            }
            None => InstallCheck::of(
                CHECK,
                CheckResult::Unknown,
                "kube-proxy without a ConfigMap kube-system/kube-proxy",
                "its option --proxy-mode has the mode; only nftables was tried",
            ),
        }
    })
}

/// The value of the key `mode` at the first level of a KubeProxyConfiguration.
fn mode(text: &str) -> &str {
    let value = text.lines().find_map(|line| line.strip_prefix("mode:"));
    value.unwrap_or_default().trim().trim_matches('"')
}

fn name_cache(sets: &[DaemonSet]) -> InstallCheck {
    const CHECK: &str = "cache of names";
    let found: Vec<String> = called(sets, &["node-local-dns", "nodelocaldns"])
        .map(name)
        .collect();
    if found.is_empty() {
        return InstallCheck::passed(CHECK, "no NodeLocal DNSCache");
    }
    InstallCheck::of(
        CHECK,
        CheckResult::Warning,
        format!("DaemonSet {}", first_names(found)),
        "its rules keep port 53 out of connection tracking: questions of selected pods are dropped, and Preflight=False names the rule",
    )
}
