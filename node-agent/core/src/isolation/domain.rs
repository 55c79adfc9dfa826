//! Which links count, and which of them are one uplink.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::Isolation;
use postern_plan::host::{AdminState, Carrier, LinkMedium, ObservedLink};

use super::memory::AllowedUplinks;

/// Names of links that a CNI, a container engine, the kernel itself or Postern makes. Everything else counts.
pub const EXCLUDED: [&str; 38] = [
    "antrea*",
    "azv*",
    "br-int",
    "cali*",
    "cbr*",
    "cilium*",
    "cni*",
    "docker*",
    "dummy*",
    "eni*",
    "erspan*",
    "flannel*",
    "genev_sys*",
    "gre*",
    "ifb*",
    "ip6_vti*",
    "ip6gre*",
    "ip6tnl*",
    "ip_vti*",
    "kube-bridge",
    "kube-dummy-if",
    "kube-ipvs*",
    "lo",
    "lxc*",
    "nodelocaldns",
    "ovn*",
    "ovs-system",
    "podman*",
    "pst-*",
    "sit*",
    "tunl*",
    "veth*",
    "virbr*",
    "vxlan-v6.calico",
    "vxlan.calico",
    "weave*",
    "wg-v6.cali",
    "wireguard.cali",
];

/// The links of a node that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkDomain {
    /// Names or globs of the others.
    excluded: BTreeSet<String>,
}

/// A link with what belongs to it: ports of a bridge or a bond, and the parent of a VLAN, are one uplink with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The member that no other member is built on or made of.
    pub name: String,
    pub members: BTreeSet<String>,
    /// Members that are administratively up.
    pub up: BTreeSet<String>,
    pub carrier: Carrier,
    pub medium: LinkMedium,
}

impl LinkDomain {
    /// `pod_links` is the setting of the node, behind which pods are.
    #[must_use]
    pub fn new(isolation: &Isolation, pod_links: &[String]) -> Self {
        let built_in = EXCLUDED.map(str::to_owned).into_iter();
        let given = isolation.exclude.iter().chain(pod_links).cloned();
        Self {
            excluded: built_in.chain(given).collect(),
        }
    }

    #[must_use]
    pub fn contains(&self, link: &str) -> bool {
        !self.excluded.iter().any(|pattern| is_like(pattern, link))
    }

    /// Does the link count? A VRF is a table of routes and carries nothing itself; the host end of a pod's pair has a name that
    /// its CNI chose, and is known by the bridge or switch that it is a port of.
    fn counts(&self, link: &ObservedLink) -> bool {
        let master = link.master.as_deref();
        let is_pod_end = link.kind == "veth" && master.is_some_and(|name| !self.contains(name));
        self.contains(&link.name) && link.kind != "vrf" && !is_pod_end
    }

    /// The uplinks among these links, by name.
    #[must_use]
    pub fn uplinks(&self, links: &[ObservedLink], wireless: &BTreeSet<String>) -> Vec<Uplink> {
        let counted: BTreeMap<&str, &ObservedLink> = links
            .iter()
            .filter(|link| self.counts(link))
            .map(|link| (link.name.as_str(), link))
            .collect();
        let mut groups: Vec<BTreeSet<&str>> = Vec::new();
        for (name, link) in &counted {
            let bound = [&link.master, &link.parent].into_iter().flatten();
            let bound = bound.map(String::as_str);
            let mut group: BTreeSet<&str> = bound.filter(|one| counted.contains_key(one)).collect();
            group.insert(*name);
            let (joined, apart): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|one| !one.is_disjoint(&group));
            group.extend(joined.into_iter().flatten());
            groups = apart;
            groups.push(group);
        }
        let mut uplinks: Vec<Uplink> = groups
            .iter()
            .filter_map(|group| uplink(group, &counted, wireless))
            .collect();
        uplinks.sort_by(|a, b| a.name.cmp(&b.name));
        uplinks
    }

    /// What nft lets packets leave by: everything that does not count, and the uplinks of the rule. nft knows only patterns with
    /// a trailing `*`, so that of other globs the links are named that are there.
    #[must_use]
    pub fn passes(
        &self,
        rule: &AllowedUplinks,
        uplinks: &[Uplink],
        links: &[ObservedLink],
    ) -> BTreeSet<String> {
        // nft takes no name that is nothing but a wildcard.
        let is_plain = |pattern: &&String| {
            let start = pattern.trim_end_matches('*');
            !start.is_empty() && !start.contains('*')
        };
        let mut names: BTreeSet<String> = self.excluded.iter().filter(is_plain).cloned().collect();
        let others = links.iter().filter(|link| !self.counts(link));
        names.extend(others.map(|link| link.name.clone()));
        let allowed = uplinks.iter().filter(|uplink| rule.allows(&uplink.members));
        names.extend(allowed.flat_map(|uplink| uplink.members.iter().cloned()));
        names.extend(rule.names().map(str::to_owned));
        let covers = |pattern: &String, name: &String| pattern != name && is_like(pattern, name);
        let patterns: Vec<&String> = names.iter().filter(|name| name.ends_with('*')).collect();
        let is_covered = |name: &String| patterns.iter().any(|pattern| covers(pattern, name));
        names
            .iter()
            .filter(|name| !is_covered(name))
            .cloned()
            .collect()
    }
}

fn uplink(
    group: &BTreeSet<&str>,
    counted: &BTreeMap<&str, &ObservedLink>,
    wireless: &BTreeSet<String>,
) -> Option<Uplink> {
    let links = || group.iter().filter_map(|name| counted.get(name).copied());
    let in_group = |one: &Option<String>| one.as_deref().is_some_and(|one| group.contains(one));
    let head = links().min_by_key(|link| {
        (
            in_group(&link.master),
            in_group(&link.parent),
            link.name.clone(),
        )
    })?;
    let up = links().filter(|link| link.state == AdminState::Up);
    Some(Uplink {
        name: head.name.clone(),
        members: links().map(|link| link.name.clone()).collect(),
        up: up.map(|link| link.name.clone()).collect(),
        carrier: head.carrier,
        medium: match links().any(|link| wireless.contains(&link.name)) {
            true => LinkMedium::Wireless,
            false => LinkMedium::Wired,
        },
    })
}

/// Does a name, or another pattern, fit a glob, in which `*` stands for anything?
pub(super) fn is_like(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|left| {
            let mut ends = left.char_indices().map(|(at, _)| &left[at..]);
            ends.any(|end| is_like(rest, end)) || is_like(rest, "")
        }),
    }
}
