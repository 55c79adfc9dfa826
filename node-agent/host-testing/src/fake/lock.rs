//! XFRM policies in memory.

use std::collections::BTreeSet;

use postern_plan::host::{Family, LockAction, LockPolicy};
use postern_plan::settings::LOCK_BLOCK_PRIORITY;

use super::fault::Call;
use super::host::{FakeHost, FakeState};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{HostResult, Locks};

fn add(state: &mut FakeState, policy: &LockPolicy) -> Result<(), HostCause> {
    state.faults.meet(Call::AddLock)?;
    state.is_spoken(Family::of_prefix(&policy.source))?;
    let mut all = state.locks.iter().chain(&state.foreign_locks);
    if all.any(|there| there.is_same(policy)) {
        return Err(HostCause::errno(errno::EEXIST));
    }
    state.locks.insert(policy.clone());
    Ok(())
}

fn replace(state: &mut FakeState, policy: &LockPolicy) -> Result<(), HostCause> {
    state.faults.meet(Call::ReplaceLock)?;
    state.locks.retain(|there| !there.is_same(policy));
    state.locks.insert(policy.clone());
    Ok(())
}

fn remove(state: &mut FakeState, policy: &LockPolicy) -> Result<(), HostCause> {
    state.faults.meet(Call::RemoveLock)?;
    let before = state.locks.len();
    state.locks.retain(|there| !there.is_same(policy));
    if state.locks.len() == before {
        Err(HostCause::errno(errno::ENOENT))
    } else {
        Ok(())
    }
}

impl Locks for FakeHost {
    async fn list_locks(&self) -> HostResult<BTreeSet<LockPolicy>> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::ListLocks)
            .map_err(|source| HostError::ListLocks { source })?;
        Ok(state.locks.clone())
    }

    async fn overruling_locks(&self) -> HostResult<BTreeSet<LockPolicy>> {
        let state = self.state();
        let foreign = state.foreign_locks.iter().filter(|lock| {
            lock.priority <= LOCK_BLOCK_PRIORITY && lock.action == LockAction::Allow
        });
        Ok(foreign.cloned().collect())
    }

    async fn add_lock(&self, policy: &LockPolicy) -> HostResult<()> {
        add(&mut self.state(), policy).map_err(|source| HostError::AddLock {
            policy: Box::new(policy.clone()),
            source,
        })
    }

    async fn replace_lock(&self, policy: &LockPolicy) -> HostResult<()> {
        replace(&mut self.state(), policy).map_err(|source| HostError::ReplaceLock {
            policy: Box::new(policy.clone()),
            source,
        })
    }

    async fn remove_lock(&self, policy: &LockPolicy) -> HostResult<()> {
        remove(&mut self.state(), policy).map_err(|source| HostError::RemoveLock {
            policy: Box::new(policy.clone()),
            source,
        })
    }
}
