//! What was read of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use postern_host::{Bypass, HostError};
use postern_intent::IfName;
use postern_linux::survey::{Ipsec, ModuleMark, RuleSeen};
use postern_plan::host::{KernelRoute, ObservedLink, TunnelBackend};

use super::ruleset::Foreign;

/// What was read of the node. Each part is there or says why not.
#[derive(Debug)]
pub struct NodeReading {
    /// Would the kernel take the agent's first ruleset?
    pub rehearsal: Result<(), HostError>,
    /// Would it take the ARP table, which is a batch of its own?
    pub arp: Result<(), HostError>,
    /// What others have in nft, and whether our tables are there.
    pub ruleset: Result<Foreign, HostError>,
    /// Marks in iptables' own modules.
    pub module_marks: Result<Vec<ModuleMark>, HostError>,
    pub links: Result<Vec<ObservedLink>, HostError>,
    /// Ways past the guard at pod links.
    pub bypasses: Result<BTreeMap<IfName, Bypass>, HostError>,
    /// Has the kernel tcx, and may we ask which programs it has at a link?
    pub tcx: Result<bool, HostError>,
    pub rules: Result<Vec<RuleSeen>, HostError>,
    /// Routes with our protocol number.
    pub routes: Result<BTreeSet<KernelRoute>, HostError>,
    /// Interfaces of the default routes.
    pub uplinks: Result<BTreeMap<char, IfName>, HostError>,
    pub ipsec: Result<Ipsec, HostError>,
    pub flows: Result<(), HostError>,
    pub wireguard: Result<bool, HostError>,
    pub tun: Result<TunnelBackend, HostError>,
    /// Files of the kernel.
    pub files: Files,
}

/// `/proc` of the namespace that is looked at, or a folder like it.
#[derive(Debug, Clone)]
pub struct Files(PathBuf);

impl Files {
    /// Files below this folder.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// A switch below `sys/net`; none where it is not there or is no number.
    #[must_use]
    pub fn switch(&self, path: &str) -> Option<i64> {
        self.text(&format!("sys/net/{path}"))?.trim().parse().ok()
    }

    /// Is there such a file?
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.0.join(path)).ok()
    }

    /// Local ports of sockets of `net/udp` and the like, proc(5): the second column is `address:port` in hexadecimal.
    #[must_use]
    pub fn ports(&self, protocol: &str) -> BTreeSet<u16> {
        let tables = [format!("net/{protocol}"), format!("net/{protocol}6")];
        let lines = tables.iter().filter_map(|table| self.text(table));
        let port = |line: &str| {
            let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        lines
            .flat_map(|text| text.lines().skip(1).filter_map(port).collect::<Vec<_>>())
            .collect()
    }
}
