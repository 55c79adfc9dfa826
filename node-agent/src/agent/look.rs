//! One reading of the host with its gaps, and what this node can do whatever else of it can be read.

use std::time::Instant;

use postern_agent_core::{PartialReading, UnreadPart};
use postern_host::error::errno;
use postern_host::{Host, HostError, Nature, Part, Reading, Unread, is_own_link, observe};
use postern_intent::IfName;
use postern_plan::Observed;
use postern_plan::host::{DeviceKey, DeviceSetting, Family};
use postern_plan::order::Stage;
use postern_plan::settings::SecondLock;
use postern_telemetry::chain;

use super::state::Agent;

/// The stage that a part belongs to, for reports.
const fn stage_of(part: Part) -> Stage {
    match part {
        Part::Firewall => Stage::Guard,
        Part::Locks => Stage::Lock,
        Part::Links | Part::Devices | Part::Uplinks => Stage::Link,
        Part::Routes | Part::Rules => Stage::Route,
    }
}

/// The stage that cannot be planned without the part. The uplinks are facts, and keep their last known value.
const fn gap_of(part: Part) -> Option<Stage> {
    match part {
        Part::Uplinks => None,
        other => Some(stage_of(other)),
    }
}

impl<H: Host> Agent<H> {
    /// Reads the host. A part that cannot be read keeps nobody from reading the others.
    pub(super) async fn read_host(&mut self) -> PartialReading {
        let mut reading = observe(&self.host).await;
        self.go_without_lock(&mut reading);
        let unread = reading.unread();
        for part in &unread {
            tracing::error!(
                error = part as &dyn std::error::Error,
                "a part of the host cannot be read"
            );
        }
        let body = self
            .documents
            .verified
            .as_deref()
            .map(|verified| verified.get());
        if reading.links.is_ok() {
            let tunnels = &reading.tunnels;
            let now = Instant::now();
            self.kernel.last.tunnels.update(body, tunnels, now);
            self.kernel.last.sessions.update(body, tunnels, now);
        }
        let partial = PartialReading {
            gaps: unread.iter().filter_map(|one| gap_of(one.part)).collect(),
            unread: unread.iter().map(unread_part).collect(),
            observed: observed(reading),
        };
        self.kernel.last.unread = unread;
        partial
    }

    /// Could this part not be read in the last reading?
    pub(super) fn is_unread(&self, part: Part) -> bool {
        self.kernel
            .last
            .unread
            .iter()
            .any(|unread| unread.part == part)
    }

    /// What this node can do, whatever else of it can be read.
    pub(super) async fn look_around(&mut self, reading: &PartialReading) {
        self.kernel.last.failed_looks.clear();
        self.look_at_families().await;
        match self.host.tunnel_backend().await {
            Ok(backend) => self.kernel.facts.tunnel_backend = Some(backend),
            Err(error) if error.nature() == Nature::Transient => {}
            // A device that is there needs nobody to make it.
            Err(_) if has_tunnels(reading) && self.kernel.facts.tunnel_backend.is_some() => {}
            Err(_) => self.kernel.facts.tunnel_backend = None,
        }
        match self.options.settings.second_lock {
            SecondLock::On => match self.host.overruling_locks().await {
                Ok(locks) => self.kernel.facts.overruling_locks = locks,
                Err(error) => self.note_failed_look("XFRM policies of other programs", error),
            },
            SecondLock::Off => self.kernel.facts.overruling_locks.clear(),
        }
        if !self.is_unread(Part::Links)
            && let Err(error) = self.look_at_paths(&reading.observed.links).await
        {
            self.note_failed_look("ways past the guard", error);
        }
    }

    fn note_failed_look(&mut self, what: &'static str, error: HostError) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the agent cannot see {what}"
        );
        self.kernel.last.failed_looks.push((what, error));
    }

    /// What a look around could not see, as parts of the reading that follows it.
    pub(super) fn unseen(&self) -> impl Iterator<Item = UnreadPart> {
        let looks = self.kernel.last.failed_looks.iter();
        looks.map(|(what, error)| UnreadPart {
            stage: Stage::Link,
            message: format!("{what} could not be read: {}", chain(error)),
        })
    }

    /// `lo` is always there, and has a switch of each family that the kernel has. Every kernel has IPv4: where its
    /// switch is missing the tree of switches is, and that says nothing of IPv6 either.
    async fn look_at_families(&mut self) {
        if let Err(error) = self.switch("lo", DeviceKey::Forwarding4).await {
            return self.note_failed_look("the switches of the node's devices", error);
        }
        match self.switch("lo", DeviceKey::Forwarding6).await {
            Ok(_) => drop(self.kernel.facts.absent.remove(&Family::V6)),
            Err(error) if error.errno() == Some(errno::ENOENT) => {
                self.kernel.facts.absent.insert(Family::V6);
            }
            // Not known: what was known before is still held to be true.
            Err(_) => {}
        }
        // New devices are like `default`.
        match self.switch("default", DeviceKey::DisableIpv6).await {
            Ok(0) => drop(self.kernel.facts.disabled.remove(&Family::V6)),
            Ok(_) => drop(self.kernel.facts.disabled.insert(Family::V6)),
            Err(_) => {}
        }
    }

    async fn switch(&self, device: &str, key: DeviceKey) -> Result<u8, HostError> {
        let Ok(device) = device.parse::<IfName>() else {
            return Ok(0);
        };
        let asked = DeviceSetting {
            device,
            key,
            value: 0,
        };
        let answer = self.host.get_device(&asked).await;
        answer.map(|setting| setting.value)
    }

    /// A kernel without XFRM has no policy, and can be given none: the guard stands alone.
    fn go_without_lock(&mut self, reading: &mut Reading) {
        if let Some(error) = reading.go_without_locks() {
            self.options.settings.second_lock = SecondLock::Off;
            self.kernel.last.no_lock = Some(error);
        }
    }

    /// Can this node have a guard at all? Only what was tried counts: nft is not installed, or the kernel has no tables.
    #[must_use]
    pub fn has_no_guard(&self) -> bool {
        self.kernel.last.failures.iter().any(|(stage, _, error)| {
            *stage == Stage::Guard && error.nature() == Nature::Unsupported
        })
    }
}

fn unread_part(unread: &Unread) -> UnreadPart {
    UnreadPart {
        stage: stage_of(unread.part),
        message: chain(unread),
    }
}

/// What was read; a part that was not is empty, and is a gap.
fn observed(reading: Reading) -> Observed {
    Observed {
        firewall: reading.firewall.unwrap_or_default(),
        locks: reading.locks.unwrap_or_default(),
        links: reading.links.unwrap_or_default(),
        devices: reading.devices.unwrap_or_default(),
        routes: reading.routes.unwrap_or_default(),
        rules: reading.rules.unwrap_or_default(),
        default_uplinks: reading.uplinks.unwrap_or_default(),
        tunnels: reading.tunnels,
    }
}

fn has_tunnels(reading: &PartialReading) -> bool {
    let mut links = reading.observed.links.iter();
    links.any(|link| is_own_link(&link.name))
}
