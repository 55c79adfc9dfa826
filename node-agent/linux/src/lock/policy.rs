//! The port, by raw netlink.

use std::collections::BTreeSet;

use netlink_sys::protocols::NETLINK_XFRM;
use postern_host::error::{HostCause, HostError};
use postern_host::ports::{HostResult, Locks};
use postern_plan::host::LockPolicy;

use super::wire;
use crate::host::LinuxHost;
use crate::netlink;

impl Locks for LinuxHost {
    async fn list_locks(&self) -> HostResult<BTreeSet<LockPolicy>> {
        let messages = netlink::dump(NETLINK_XFRM, wire::GET, &[])
            .await
            .map_err(|source| HostError::ListLocks { source })?;
        Ok(messages
            .iter()
            .filter_map(|message| wire::decode(&message.body))
            .collect())
    }

    async fn overruling_locks(&self) -> HostResult<BTreeSet<LockPolicy>> {
        let messages = netlink::dump(NETLINK_XFRM, wire::GET, &[])
            .await
            .map_err(|source| HostError::ListLocks { source })?;
        let policies = messages.iter();
        Ok(policies
            .filter_map(|message| wire::overruling(&message.body))
            .collect())
    }

    async fn add_lock(&self, policy: &LockPolicy) -> HostResult<()> {
        netlink::act(
            NETLINK_XFRM,
            wire::NEW,
            netlink::CREATE | netlink::EXCLUSIVE,
            &wire::policy(policy),
        )
        .await
        .map_err(|source| HostError::AddLock {
            policy: Box::new(policy.clone()),
            source,
        })
    }

    async fn replace_lock(&self, policy: &LockPolicy) -> HostResult<()> {
        netlink::act(NETLINK_XFRM, wire::UPDATE, 0, &wire::policy(policy))
            .await
            .map_err(|source| HostError::ReplaceLock {
                policy: Box::new(policy.clone()),
                source,
            })
    }

    async fn remove_lock(&self, policy: &LockPolicy) -> HostResult<()> {
        netlink::act(NETLINK_XFRM, wire::DELETE, 0, &wire::identity(policy))
            .await
            .map_err(|source| HostError::RemoveLock {
                policy: Box::new(policy.clone()),
                source,
            })
    }
}

/// How many policies are not ours.
pub(crate) async fn foreign() -> Result<usize, HostCause> {
    let messages = netlink::dump(NETLINK_XFRM, wire::GET, &[]).await?;
    Ok(messages
        .iter()
        .filter(|message| wire::decode(&message.body).is_none())
        .count())
}
