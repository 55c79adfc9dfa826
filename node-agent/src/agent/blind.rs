//! What can be done where a part of the host cannot be read or changed: each block is tried for itself, because the
//! lock does not need nft, and the guard does not need the lock.

use postern_host::error::errno;
use postern_host::{Host, Nature, Part, Reading, Unread, is_own_link};
use postern_intent::IfName;
use postern_plan::Desired;
use postern_plan::check::Seal;
use postern_plan::host::{DeviceKey, DeviceSetting, Family};
use postern_plan::order::{Stage, blocks};
use postern_plan::settings::SecondLock;

use super::activation::Activation;
use super::state::Agent;

const fn stage_of(part: Part) -> Stage {
    match part {
        Part::Firewall => Stage::Guard,
        Part::Locks => Stage::Lock,
        Part::Links | Part::Devices | Part::Uplinks => Stage::Link,
        Part::Routes | Part::Rules => Stage::Route,
    }
}

impl<H: Host> Agent<H> {
    /// What this node can do, whatever else of it can be read.
    pub(super) async fn look_around(&mut self, reading: &Reading) {
        self.look_at_families().await;
        match self.host.tunnel_backend().await {
            Ok(backend) => self.facts.tunnel_backend = Some(backend),
            Err(error) if error.nature() == Nature::Transient => {}
            // A device that is there needs nobody to make it.
            Err(_) if has_tunnels(reading) && self.facts.tunnel_backend.is_some() => {}
            Err(_) => self.facts.tunnel_backend = None,
        }
        if let Ok(links) = &reading.links
            && let Err(error) = self.look_at_paths(links).await
        {
            let what = "look for ways past the guard".to_owned();
            self.last.failures.push((Stage::Route, what, error));
        }
    }

    /// `lo` is always there, and has a switch of each family that the kernel has.
    async fn look_at_families(&mut self) {
        let Ok(device) = "lo".parse::<IfName>() else {
            return;
        };
        for (family, key) in [
            (Family::V4, DeviceKey::Forwarding4),
            (Family::V6, DeviceKey::Forwarding6),
        ] {
            let asked = DeviceSetting {
                device: device.clone(),
                key,
                value: 0,
            };
            match self.host.get_device(&asked).await {
                Ok(_) => drop(self.facts.absent.remove(&family)),
                Err(error) if error.errno() == Some(errno::ENOENT) => {
                    self.facts.absent.insert(family);
                }
                // Not known: what was known before is still held to be true.
                Err(_) => {}
            }
        }
    }

    /// A kernel without XFRM has no policy, and can be given none: the guard stands alone.
    pub(super) fn go_without_lock(&mut self, reading: &mut Reading) {
        if let Some(error) = reading.go_without_locks() {
            self.settings.second_lock = SecondLock::Off;
            self.last.no_lock = Some(error);
        }
    }

    /// Writes the guard and the lock without the whole picture, and says of the lock whether it stands.
    pub(super) async fn work_blind(
        &mut self,
        reading: &Reading,
        unread: &[Unread],
        activation: Activation,
    ) {
        for part in unread {
            tracing::error!(
                error = part as &dyn std::error::Error,
                "a part of the host cannot be read"
            );
            let failure = (stage_of(part.part), part.to_string(), part.source.clone());
            self.last.failures.push(failure);
        }
        let desired = Desired::from_inputs(&self.inputs());
        self.owe_cuts(&desired, None);
        let firewall = reading.firewall.as_ref().ok();
        let plan = blocks(
            &desired,
            firewall,
            reading.locks.as_ref().ok(),
            &self.learned,
        );
        let plan = plan.cutting(&self.owed_cuts);
        self.execute(plan, &desired.dns, activation).await;
        let stands = self.host.list_locks().await;
        self.last.lock = Some(match stands {
            Ok(locks) if locks == desired.locks => Seal::Sealed,
            _ => Seal::NotSealed,
        });
        self.desired = desired;
    }

    /// Can this node have a guard at all? Only what was tried counts: nft is not installed, or the kernel has no tables.
    #[must_use]
    pub fn has_no_guard(&self) -> bool {
        self.last.failures.iter().any(|(stage, _, error)| {
            *stage == Stage::Guard && error.nature() == Nature::Unsupported
        })
    }
}

fn has_tunnels(reading: &Reading) -> bool {
    reading
        .links
        .as_ref()
        .is_ok_and(|links| links.iter().any(|link| is_own_link(&link.name)))
}
