//! What goes with the state of a link, in memory: its IPv6 addresses. The fake has no routes of others.

use std::collections::BTreeSet;

use ipnet::IpNet;
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{HostResult, TransportProtocol, Uplinks};
use postern_intent::IfName;
use postern_plan::host::{LinkConfig, TcpSession};

use super::flow_entry::Flow;
use super::host::FakeHost;

impl FakeHost {
    /// Adds an established TCP connection of the node itself.
    pub fn has_session(&self, session: TcpSession) {
        self.state().sessions.push(session);
    }
}

impl Uplinks for FakeHost {
    async fn wireless_links(&self) -> HostResult<BTreeSet<String>> {
        Ok(BTreeSet::new())
    }

    async fn tcp_sessions(&self) -> HostResult<Vec<TcpSession>> {
        Ok(self.state().sessions.clone())
    }

    async fn as_sent(&self, session: &TcpSession) -> HostResult<Option<TcpSession>> {
        let state = self.state();
        let ends = (session.local, session.remote);
        let is_of = |flow: &&Flow| flow.protocol == TransportProtocol::Tcp && flow.original == ends;
        let flow = state.flows.iter().find(is_of);
        Ok(flow.map(|flow| TcpSession {
            local: flow.reply.1,
            remote: flow.reply.0,
        }))
    }

    async fn link_config(&self, device: &IfName) -> HostResult<LinkConfig> {
        let state = self.state();
        let mut links = state.links.iter();
        let link = links.find(|link| link.name == device.as_str());
        let link = link.ok_or_else(|| HostError::ReadLinkConfig {
            link: device.clone(),
            source: HostCause::errno(errno::ENODEV),
        })?;
        let is_lost = |address: &&IpNet| matches!(address, IpNet::V6(_));
        Ok(LinkConfig {
            device: device.clone(),
            addresses: link.addresses.iter().filter(is_lost).copied().collect(),
            routes: Vec::new(),
        })
    }

    async fn restore_link(&self, config: &LinkConfig) -> HostResult<()> {
        let mut state = self.state();
        let mut links = state.links.iter_mut();
        let link = links.find(|link| link.name == config.device.as_str());
        let link = link.ok_or_else(|| HostError::RestoreRoutes {
            link: config.device.clone(),
            source: HostCause::errno(errno::ENODEV),
        })?;
        for address in &config.addresses {
            if !link.addresses.contains(address) {
                link.addresses.push(*address);
            }
        }
        link.addresses.sort();
        Ok(())
    }
}
