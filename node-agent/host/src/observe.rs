//! One reading of everything that we own.
//!
//! The parts of a [`Reading`] succeed or fail each for itself, because the guard must be written and kept even when,
//! say, no tunnel can be read. A part that failed has no value at all: it can neither be taken for an empty part nor
//! compared with what is desired. [`Reading::whole`] gives the [`Observed`] of a release or a cleanup, or names the first
//! part that is missing; the agent plans around gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::future::join_all;
use postern_intent::IfName;
use postern_plan::Observed;
use postern_plan::host::{
    DeviceKey, DeviceSetting, KernelRoute, LockPolicy, ObservedLink, ObservedTunnel, RoutingRule,
};
use postern_plan::observed::ObservedFirewall;
use thiserror::Error;

use crate::error::{HostError, Nature, errno};
use crate::ports::{Host, HostResult, Tunnels, is_own_link};

/// A part of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Firewall,
    Locks,
    Links,
    /// Switches of our devices.
    Devices,
    Routes,
    Rules,
    /// The interfaces of the default routes.
    Uplinks,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firewall => "firewall",
            Self::Locks => "locks",
            Self::Links => "links",
            Self::Devices => "devices",
            Self::Routes => "routes",
            Self::Rules => "rules",
            Self::Uplinks => "uplinks",
        })
    }
}

/// A part that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the host's {part} could not be read")]
pub struct Unread {
    pub part: Part,
    pub source: HostError,
}

/// One reading, part by part.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub firewall: Result<ObservedFirewall, HostError>,
    /// XFRM policies of ours.
    pub locks: Result<BTreeSet<LockPolicy>, HostError>,
    pub links: Result<Vec<ObservedLink>, HostError>,
    /// Every switch of our devices.
    pub devices: Result<BTreeSet<DeviceSetting>, HostError>,
    pub routes: Result<BTreeSet<KernelRoute>, HostError>,
    /// Routing rules of ours.
    pub rules: Result<Vec<RoutingRule>, HostError>,
    /// Interfaces of the default routes, by family digit.
    pub uplinks: Result<BTreeMap<char, IfName>, HostError>,
    /// Our devices that answer, by name.
    pub tunnels: BTreeMap<IfName, ObservedTunnel>,
    /// Our devices that exist and are served, but did not answer properly: their entry in `tunnels` is missing, as
    /// for a device that no process serves; this is the error.
    pub silent: BTreeMap<IfName, HostError>,
}

/// Reads everything that we own. The firewall comes first: the rest depends on it.
pub async fn observe(host: &impl Host) -> Reading {
    let firewall = host.read_firewall().await;
    let locks = host.list_locks().await;
    let links = host.list_links().await;
    let routes = host.list_routes().await;
    let rules = host.list_rules().await;
    let uplinks = host.default_uplinks().await;
    let own = links.as_deref().map(own_links).unwrap_or_default();
    let devices = match &links {
        Ok(_) => read_devices(host, &own).await,
        // Which devices are ours is not known, so neither are their switches.
        Err(error) => Err(error.clone()),
    };
    let mut tunnels = BTreeMap::new();
    let mut silent = BTreeMap::new();
    for (name, answer) in read_tunnels(host, own).await {
        match answer {
            Ok(Some(tunnel)) => drop(tunnels.insert(name, tunnel)),
            Ok(None) => {}
            Err(error) => drop(silent.insert(name, error)),
        }
    }
    Reading {
        firewall,
        locks,
        links,
        devices,
        routes,
        rules,
        uplinks,
        tunnels,
        silent,
    }
}

/// Every device is asked at once: a process that hangs costs its time once, however many devices it serves.
async fn read_tunnels(
    host: &impl Tunnels,
    own: Vec<IfName>,
) -> Vec<(IfName, HostResult<Option<ObservedTunnel>>)> {
    let ask = |name: IfName| async move {
        let answer = host.read_tunnel(&name).await;
        (name, answer)
    };
    join_all(own.into_iter().map(ask)).await
}

/// A switch that is not there (`ENOENT`: no IPv6 in this kernel, or the device was removed meanwhile) has no value;
/// that is no error, and it compares unequal to every value that it should have.
async fn read_devices(
    host: &impl Host,
    own: &[IfName],
) -> Result<BTreeSet<DeviceSetting>, HostError> {
    let mut out = BTreeSet::new();
    for device in own {
        for key in DeviceKey::ALL {
            match host
                .get_device(&DeviceSetting {
                    device: device.clone(),
                    key,
                    value: 0,
                })
                .await
            {
                Ok(setting) => drop(out.insert(setting)),
                Err(error) if error.errno() == Some(errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(out)
}

fn own_links(links: &[ObservedLink]) -> Vec<IfName> {
    links
        .iter()
        .filter(|link| is_own_link(&link.name))
        .filter_map(|link| link.name.parse().ok())
        .collect()
}

impl Reading {
    /// Parts that could not be read, with the reason.
    #[must_use]
    pub fn unread(&self) -> Vec<Unread> {
        let Self {
            firewall,
            locks,
            links,
            devices,
            routes,
            rules,
            uplinks,
            tunnels: _,
            silent: _,
        } = self;
        [
            (Part::Firewall, firewall.as_ref().err()),
            (Part::Locks, locks.as_ref().err()),
            (Part::Links, links.as_ref().err()),
            (Part::Devices, devices.as_ref().err()),
            (Part::Routes, routes.as_ref().err()),
            (Part::Rules, rules.as_ref().err()),
            (Part::Uplinks, uplinks.as_ref().err()),
        ]
        .into_iter()
        .filter_map(|(part, error)| {
            error.map(|source| Unread {
                part,
                source: source.clone(),
            })
        })
        .collect()
    }

    /// A kernel without XFRM has no policy of ours: there is nothing that could not be read. Returns the error of such
    /// a kernel.
    pub fn go_without_locks(&mut self) -> Option<HostError> {
        let error = self.locks.as_ref().err()?.clone();
        if error.nature() != Nature::Unsupported {
            return None;
        }
        self.locks = Ok(BTreeSet::new());
        Some(error)
    }

    /// The whole, for planning.
    ///
    /// # Errors
    /// [`Unread`] with the first part that could not be read. A tunnel that did not answer is no such part.
    pub fn whole(self) -> Result<Observed, Unread> {
        let named = |part| move |source| Unread { part, source };
        Ok(Observed {
            firewall: self.firewall.map_err(named(Part::Firewall))?,
            locks: self.locks.map_err(named(Part::Locks))?,
            links: self.links.map_err(named(Part::Links))?,
            devices: self.devices.map_err(named(Part::Devices))?,
            routes: self.routes.map_err(named(Part::Routes))?,
            rules: self.rules.map_err(named(Part::Rules))?,
            default_uplinks: self.uplinks.map_err(named(Part::Uplinks))?,
            tunnels: self.tunnels,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_intent::WgKey;
    use postern_intent::credential::ExitCredential;
    use postern_plan::host::{TunnelBackend, TunnelConfig};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::error::HostCause;

    const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

    /// A tunnel process that takes requests and answers none.
    struct Hangs;

    impl Tunnels for Hangs {
        fn use_credential(&self, _: &IfName, _: Option<&ExitCredential>) {}
        async fn tunnel_backend(&self) -> HostResult<TunnelBackend> {
            Ok(TunnelBackend::Userspace)
        }

        async fn read_tunnel(&self, device: &IfName) -> HostResult<Option<ObservedTunnel>> {
            sleep(ANSWER_DEADLINE).await;
            Err(HostError::ReadTunnel {
                link: device.clone(),
                source: HostCause::TimedOut {
                    seconds: ANSWER_DEADLINE.as_secs(),
                },
            })
        }

        async fn configure_tunnel(&self, _: &TunnelConfig) -> HostResult<()> {
            Ok(())
        }

        async fn remove_peer(&self, _: &IfName, _: &WgKey) -> HostResult<()> {
            Ok(())
        }

        async fn dismiss_tunnel(&self, _: &IfName) -> HostResult<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_process_that_hangs_costs_its_time_once_for_all_its_devices() {
        let devices = ["pst-c-eu", "pst-c-us", "pst-s-eu"];
        let own = devices.map(|name| name.parse().unwrap()).to_vec();
        let begun = Instant::now();
        let answers = read_tunnels(&Hangs, own).await;
        assert_eq!(begun.elapsed(), ANSWER_DEADLINE);
        let silent: Vec<&str> = answers
            .iter()
            .filter(|(_, answer)| answer.is_err())
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(silent, devices);
    }
}
