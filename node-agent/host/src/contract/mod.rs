//! The rules that every host keeps, as cases that run on any of them: on the fake here, on the kernel from
//! `postern-linux` and from the end-to-end suite. A rule of the fake that no case proves is a guess.
//!
//! A case gets a host of its own, empty but for `lo`, and an [`Outsider`], who does what administrators and other
//! programs do. [`contract_tests`](crate::contract_tests) makes one test of each case.

pub mod firewall;
pub mod flow;
pub mod link;
pub mod lock;
pub mod route;
pub mod tunnel;

use postern_intent::IfName;
use postern_plan::host::{AdminState, TunnelBackend, TunnelLink};

use crate::error::HostError;
use crate::ports::Host;

/// Somebody else on the same host.
pub trait Outsider: Send + Sync {
    /// Brings a link down or up.
    fn sets_state(&self, link: &str, state: AdminState) -> impl Future<Output = ()> + Send;
    /// Removes a link.
    fn removes_link(&self, link: &str) -> impl Future<Output = ()> + Send;
    /// `nft flush ruleset`.
    fn flushes_the_firewall(&self) -> impl Future<Output = ()> + Send;
}

/// What a case ends with; a broken rule panics with its sentence.
pub type Outcome = Result<(), HostError>;

/// The device of the cases.
pub const DEVICE: &str = "pst-c-eu";

/// A tunnel device.
///
/// # Panics
/// Not: the name is one.
#[must_use]
pub fn device(name: &str) -> IfName {
    match name.parse() {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

pub(crate) fn tunnel() -> TunnelLink {
    TunnelLink { name: device(DEVICE), mtu: 1400, backend: TunnelBackend::Userspace }
}

/// A device that is there and up.
pub(crate) async fn tunnel_up(host: &impl Host) -> Outcome {
    host.add_link(&tunnel()).await?;
    host.set_state(&device(DEVICE), AdminState::Up).await
}

/// Did the host refuse, with this number?
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, HostError>, errno: i32, rule: &str) {
    let answer = outcome.as_ref().err().and_then(HostError::errno);
    assert_eq!(answer, Some(errno), "{rule}: {outcome:?}");
}

/// One `#[test]` for each case, run by a function of the shape
/// `fn runs<F>(case: impl FnOnce(Host, Outsider) -> F) where F: Future<Output = Outcome>`.
#[macro_export]
macro_rules! contract_tests {
    ($runs:path) => {
        $crate::contract_tests! { $runs,
            link: a_new_tunnel_is_down_and_has_its_mtu,
            link: a_link_cannot_be_added_twice,
            link: removing_a_link_that_is_not_there_is_refused,
            link: a_tunnel_that_nobody_serves_has_no_carrier,
            link: a_mtu_changes_in_place,
            link: an_address_cannot_be_added_twice,
            link: removing_an_address_that_is_not_there_is_refused,
            link: a_link_that_goes_down_keeps_its_ipv4_and_loses_its_ipv6_addresses,
            link: a_switch_reads_back_as_it_was_set,
            link: a_switch_of_a_missing_device_is_missing,
            route: a_route_reads_back_with_its_table_and_metric,
            route: adding_a_route_twice_replaces_it,
            route: routes_of_two_metrics_stand_side_by_side,
            route: removing_a_route_that_is_not_there_is_refused,
            route: a_route_into_a_link_that_is_down_is_refused,
            route: a_link_that_goes_down_loses_its_routes_of_every_table,
            route: a_link_that_is_removed_loses_its_routes,
            route: a_rule_reads_back,
            route: a_rule_cannot_be_added_twice,
            route: removing_a_rule_that_is_not_there_is_refused,
            lock: a_lock_reads_back,
            lock: a_lock_cannot_be_added_twice_at_whatever_priority,
            lock: the_same_selector_with_another_mark_is_another_lock,
            lock: removing_a_lock_that_is_not_there_is_refused,
            lock: a_lock_holds_when_somebody_flushes_the_firewall,
            firewall: a_table_that_is_not_there_reads_as_none,
            firewall: a_ruleset_reads_back_as_it_was_written,
            firewall: replacing_a_ruleset_with_itself_changes_nothing,
            firewall: a_batch_is_taken_whole_or_not_at_all,
            firewall: an_element_may_be_added_twice_but_not_with_other_data,
            firewall: deleting_what_is_missing_is_refused,
            firewall: what_is_in_use_cannot_be_deleted,
            firewall: a_key_changes_its_data_within_one_batch,
            firewall: a_chain_that_was_flushed_can_be_filled_again,
            firewall: a_lease_is_renewed_whether_it_is_there_or_not,
            firewall: a_flush_by_somebody_else_leaves_no_table,
            flow: nothing_is_cut_where_nothing_flows,
            flow: an_unknown_flow_has_no_original_destination,
            tunnel: a_tunnel_that_nobody_serves_does_not_answer,
            tunnel: configuring_a_tunnel_that_nobody_serves_may_work_later,
            tunnel: a_peer_of_a_tunnel_that_nobody_serves_is_removed_already,
            tunnel: dismissing_a_tunnel_that_nobody_serves_is_no_error,
        }
    };
    ($runs:path, $($noun:ident: $case:ident,)+) => {
        $(
            #[test]
            fn $case() {
                $runs(|host, outsider| async move { $crate::contract::$noun::$case(&host, &outsider).await });
            }
        )+
    };
}
