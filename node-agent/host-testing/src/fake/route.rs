//! Routes and rules in memory.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::IfName;
use postern_plan::host::{Family, KernelRoute, RouteKind, RoutingRule};

use super::fault::Call;
use super::host::{FakeHost, FakeState};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{HostResult, Routes, Rules};

fn add(state: &mut FakeState, route: &KernelRoute) -> Result<(), HostCause> {
    state.faults.meet(Call::AddRoute)?;
    state.is_spoken(Family::of_prefix(&route.destination))?;
    if let RouteKind::Device(device) = &route.kind {
        state.is_taken(Family::of_prefix(&route.destination))?;
        if !state.is_up(device)? {
            return Err(HostCause::errno(errno::ENETDOWN));
        }
    }
    let place = |route: &KernelRoute| (route.table, route.destination, route.metric);
    state.routes.retain(|there| place(there) != place(route));
    state.routes.insert(route.clone());
    Ok(())
}

fn remove(state: &mut FakeState, route: &KernelRoute) -> Result<(), HostCause> {
    state.faults.meet(Call::RemoveRoute)?;
    if let RouteKind::Device(device) = &route.kind {
        state.is_up(device)?;
    }
    if state.routes.remove(route) {
        Ok(())
    } else {
        Err(HostCause::errno(errno::ESRCH))
    }
}

impl Routes for FakeHost {
    async fn list_routes(&self) -> HostResult<BTreeSet<KernelRoute>> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::ListRoutes)
            .map_err(|source| HostError::ListRoutes { source })?;
        Ok(state.routes.clone())
    }

    async fn default_uplinks(&self) -> HostResult<BTreeMap<char, IfName>> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::DefaultUplinks)
            .map_err(|source| HostError::ListRoutes { source })?;
        Ok(state.uplinks.clone())
    }

    async fn add_route(&self, route: &KernelRoute) -> HostResult<()> {
        add(&mut self.state(), route).map_err(|source| HostError::AddRoute {
            route: Box::new(route.clone()),
            source,
        })
    }

    async fn remove_route(&self, route: &KernelRoute) -> HostResult<()> {
        remove(&mut self.state(), route).map_err(|source| HostError::RemoveRoute {
            route: Box::new(route.clone()),
            source,
        })
    }
}

fn add_rule(state: &mut FakeState, rule: &RoutingRule) -> Result<(), HostCause> {
    state.faults.meet(Call::AddRule)?;
    state.is_spoken(rule.selector.family())?;
    if state.rules.contains(rule) {
        return Err(HostCause::errno(errno::EEXIST));
    }
    state.rules.push(rule.clone());
    state
        .rules
        .sort_by_key(|rule| (rule.selector.family(), rule.priority));
    Ok(())
}

fn remove_rule(state: &mut FakeState, rule: &RoutingRule) -> Result<(), HostCause> {
    state.faults.meet(Call::RemoveRule)?;
    match state.rules.iter().position(|there| there == rule) {
        Some(index) => {
            state.rules.remove(index);
            Ok(())
        }
        None => Err(HostCause::errno(errno::ENOENT)),
    }
}

impl Rules for FakeHost {
    async fn list_rules(&self) -> HostResult<Vec<RoutingRule>> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::ListRules)
            .map_err(|source| HostError::ListRules { source })?;
        Ok(state.rules.clone())
    }

    async fn add_rule(&self, rule: &RoutingRule) -> HostResult<()> {
        add_rule(&mut self.state(), rule).map_err(|source| HostError::AddRule {
            rule: Box::new(rule.clone()),
            source,
        })
    }

    async fn remove_rule(&self, rule: &RoutingRule) -> HostResult<()> {
        remove_rule(&mut self.state(), rule).map_err(|source| HostError::RemoveRule {
            rule: Box::new(rule.clone()),
            source,
        })
    }
}
