//! Links, addresses and switches in memory.

use ipnet::IpNet;
use postern_intent::IfName;
use postern_plan::host::{
    AdminState, Carrier, DeviceKey, DeviceSetting, Family, ObservedLink, RouteKind, TunnelBackend,
    TunnelLink,
};

use super::fault::Call;
use super::host::{FakeHost, FakeState};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{Addresses, Devices, HostResult, Links};

const fn kind(backend: TunnelBackend) -> &'static str {
    match backend {
        TunnelBackend::Kernel => "wireguard",
        TunnelBackend::Userspace => "tun",
    }
}

impl FakeState {
    fn link_mut(&mut self, name: &str) -> Result<&mut ObservedLink, HostCause> {
        self.links
            .iter_mut()
            .find(|link| link.name == name)
            .ok_or(HostCause::errno(errno::ENODEV))
    }

    pub(super) fn is_up(&self, name: &IfName) -> Result<bool, HostCause> {
        let link = self
            .links
            .iter()
            .find(|link| link.name == name.as_str())
            .ok_or(HostCause::errno(errno::ENODEV))?;
        Ok(link.state == AdminState::Up)
    }

    fn add(&mut self, link: &TunnelLink) -> Result<(), HostCause> {
        if self.link_mut(link.name.as_str()).is_ok() {
            return Err(HostCause::errno(errno::EEXIST));
        }
        let index = self.links.iter().map(|link| link.index).max().unwrap_or(0) + 1;
        let carrier = match link.backend {
            TunnelBackend::Kernel => Carrier::Present,
            TunnelBackend::Userspace if self.tunnels.serves(&link.name) => Carrier::Present,
            TunnelBackend::Userspace => Carrier::Absent,
        };
        self.links.push(ObservedLink {
            index,
            name: link.name.to_string(),
            kind: kind(link.backend).to_owned(),
            mtu: link.mtu,
            state: AdminState::Down,
            carrier,
            master: None,
            parent: None,
            mac: None,
            addresses: Vec::new(),
        });
        self.add_switches(&link.name);
        Ok(())
    }

    /// Switches come with their device, those of the families that the kernel has.
    pub(super) fn add_switches(&mut self, device: &IfName) {
        let there = DeviceKey::ALL
            .into_iter()
            .filter(|key| !self.absent.contains(&key.family()));
        self.switches
            .extend(there.map(|key| ((device.clone(), key), 0)));
    }

    /// `EAFNOSUPPORT` for a family that the kernel does not have.
    pub(super) fn is_spoken(&self, family: Family) -> Result<(), HostCause> {
        if self.absent.contains(&family) {
            Err(HostCause::errno(errno::EAFNOSUPPORT))
        } else {
            Ok(())
        }
    }

    /// `EACCES` for an address or a route of a family that devices do not take.
    pub(super) fn is_taken(&self, family: Family) -> Result<(), HostCause> {
        let key = (crate::contract::device("default"), DeviceKey::DisableIpv6);
        match (family, self.switches.get(&key)) {
            (Family::V6, Some(1)) => Err(HostCause::errno(errno::EACCES)),
            _ => Ok(()),
        }
    }

    /// Removes a link with its routes and switches.
    pub(super) fn remove_link(&mut self, name: &str) -> Result<(), HostCause> {
        self.link_mut(name)?;
        self.links.retain(|link| link.name != name);
        self.drop_routes(name);
        self.switches
            .retain(|(device, _), _| device.as_str() != name);
        self.bypasses.retain(|link, _| link.as_str() != name);
        Ok(())
    }

    /// Sets a link's state.
    pub(super) fn set_state(&mut self, name: &str, wanted: AdminState) -> Result<(), HostCause> {
        let link = self.link_mut(name)?;
        link.state = wanted;
        if wanted == AdminState::Down {
            link.addresses.retain(|net| matches!(net, IpNet::V4(_)));
            self.drop_routes(name);
        }
        Ok(())
    }

    fn drop_routes(&mut self, name: &str) {
        self.routes.retain(
            |route| !matches!(&route.kind, RouteKind::Device(device) if device.as_str() == name),
        );
    }

    pub(super) fn set_carrier(&mut self, name: &str, carrier: Carrier) {
        if let Ok(link) = self.link_mut(name) {
            link.carrier = carrier;
        }
    }
}

impl Links for FakeHost {
    async fn list_links(&self) -> HostResult<Vec<ObservedLink>> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::ListLinks)
            .map_err(|source| HostError::ListLinks { source })?;
        Ok(state.links.clone())
    }

    async fn add_link(&self, link: &TunnelLink) -> HostResult<()> {
        let mut state = self.state();
        let outcome = state
            .faults
            .meet(Call::AddLink)
            .and_then(|()| state.add(link));
        outcome.map_err(|source| HostError::AddLink {
            link: link.name.clone(),
            source,
        })
    }

    async fn remove_link(&self, name: &IfName) -> HostResult<()> {
        let mut state = self.state();
        let outcome = state
            .faults
            .meet(Call::RemoveLink)
            .and_then(|()| state.remove_link(name.as_str()));
        outcome.map_err(|source| HostError::RemoveLink {
            link: name.clone(),
            source,
        })
    }

    async fn set_mtu(&self, name: &IfName, mtu: u32) -> HostResult<()> {
        let mut state = self.state();
        let outcome = state
            .faults
            .meet(Call::SetMtu)
            .and_then(|()| state.link_mut(name.as_str()).map(|link| link.mtu = mtu));
        outcome.map_err(|source| HostError::SetMtu {
            link: name.clone(),
            mtu,
            source,
        })
    }

    async fn set_state(&self, name: &IfName, wanted: AdminState) -> HostResult<()> {
        let mut state = self.state();
        let outcome = state
            .faults
            .meet(Call::SetState)
            .and_then(|()| state.set_state(name.as_str(), wanted));
        outcome.map_err(|source| HostError::SetState {
            link: name.clone(),
            source,
        })
    }
}

fn add_address(state: &mut FakeState, device: &IfName, address: IpNet) -> Result<(), HostCause> {
    state.faults.meet(Call::AddAddress)?;
    state.is_spoken(Family::of(&address.addr()))?;
    state.is_taken(Family::of(&address.addr()))?;
    let link = state.link_mut(device.as_str())?;
    if link.addresses.contains(&address) {
        return Err(HostCause::errno(errno::EEXIST));
    }
    link.addresses.push(address);
    link.addresses.sort();
    Ok(())
}

fn remove_address(state: &mut FakeState, device: &IfName, address: IpNet) -> Result<(), HostCause> {
    state.faults.meet(Call::RemoveAddress)?;
    let link = state.link_mut(device.as_str())?;
    let before = link.addresses.len();
    link.addresses.retain(|there| *there != address);
    if link.addresses.len() == before {
        Err(HostCause::errno(errno::EADDRNOTAVAIL))
    } else {
        Ok(())
    }
}

impl Addresses for FakeHost {
    async fn add_address(&self, device: &IfName, address: IpNet) -> HostResult<()> {
        add_address(&mut self.state(), device, address).map_err(|source| HostError::AddAddress {
            link: device.clone(),
            address,
            source,
        })
    }

    async fn remove_address(&self, device: &IfName, address: IpNet) -> HostResult<()> {
        remove_address(&mut self.state(), device, address).map_err(|source| {
            HostError::RemoveAddress {
                link: device.clone(),
                address,
                source,
            }
        })
    }
}

impl Devices for FakeHost {
    async fn get_device(&self, setting: &DeviceSetting) -> HostResult<DeviceSetting> {
        let mut state = self.state();
        let key = (setting.device.clone(), setting.key);
        let missing = HostCause::errno(errno::ENOENT);
        let value = state
            .faults
            .meet(Call::GetDevice)
            .and_then(|()| state.switches.get(&key).copied().ok_or(missing));
        let path = setting.key.path(&setting.device);
        let value = value.map_err(|source| HostError::GetDevice { path, source })?;
        Ok(DeviceSetting {
            value,
            ..setting.clone()
        })
    }

    async fn set_device(&self, setting: &DeviceSetting) -> HostResult<()> {
        let mut state = self.state();
        let key = (setting.device.clone(), setting.key);
        let missing = HostCause::errno(errno::ENOENT);
        let outcome = state.faults.meet(Call::SetDevice).and_then(|()| {
            state
                .switches
                .get_mut(&key)
                .map(|value| *value = setting.value)
                .ok_or(missing)
        });
        let path = setting.key.path(&setting.device);
        outcome.map_err(|source| HostError::SetDevice {
            path,
            value: setting.value,
            source,
        })
    }
}
