//! The list of cases.

/// One `#[test]` for each case, run by a function of the shape
/// `fn runs<F>(case: impl FnOnce(Host, OtherProgram) -> F) where F: Future<Output = Outcome>`.
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
            link: what_a_link_loses_when_it_goes_down_can_be_put_back,
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
            lock: a_lock_is_replaced_by_another_priority_and_action,
            lock: the_same_selector_with_another_mark_is_another_lock,
            lock: removing_a_lock_that_is_not_there_is_refused,
            lock: a_policy_of_another_program_with_our_numbers_is_not_ours_and_is_told_where_it_overrules,
            lock: a_lock_holds_when_somebody_flushes_the_firewall,
            firewall: a_table_that_is_not_there_reads_as_none,
            firewall: a_ruleset_reads_back_as_it_was_written,
            firewall: replacing_a_ruleset_with_itself_changes_nothing,
            firewall: a_batch_is_taken_whole_or_not_at_all,
            firewall: an_element_may_be_added_twice_but_not_with_other_data,
            firewall: a_set_of_another_type_is_refused,
            firewall: deleting_what_is_missing_is_refused,
            firewall: what_is_in_use_cannot_be_deleted,
            firewall: a_key_changes_its_data_within_one_batch,
            firewall: a_chain_that_was_flushed_can_be_filled_again,
            firewall: what_no_rule_judges_can_be_told_anew,
            firewall: a_lease_is_renewed_whether_it_is_there_or_not,
            grant: addresses_are_granted_for_a_time_that_a_later_grant_replaces,
            grant: what_is_missing_in_one_set_is_not_there,
            grant: a_full_set_takes_nothing_more,
            grant: grants_are_carried_into_a_table_that_is_made_anew,
            firewall: a_flush_by_somebody_else_leaves_no_table,
            flow: nothing_is_cut_where_nothing_flows,
            flow: a_cut_takes_what_leaves_the_cluster_and_leaves_what_is_inside,
            flow: a_cut_of_many_addresses_takes_what_the_cut_of_one_takes,
            flow: a_cut_of_a_range_of_clients_takes_all_that_they_opened,
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
                $runs(|host, other_program| async move { $crate::contract::$noun::$case(&host, &other_program).await });
            }
        )+
    };
}
