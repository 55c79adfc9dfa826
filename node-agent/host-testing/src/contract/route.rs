//! Routes and routing rules.

use std::collections::BTreeSet;

use postern_plan::host::{AdminState, Family, KernelRoute, RouteKind, RoutingRule, RuleSelector};
use postern_plan::settings::{
    FROM_RULE_PRIORITY, MARK_RULE_PRIORITY, TUNNEL_METRIC, UNREACHABLE_METRIC,
};

use super::{CaseResult, DEVICE, OtherProgram, device, refused, tunnel_link, tunnel_up};
use postern_host::error::errno;
use postern_host::ports::Host;

/// Above 255, where the header's own number no longer fits.
const TABLE: u32 = 51_820;

fn into_tunnel(family: Family, table: u32) -> KernelRoute {
    let kind = RouteKind::Device(device(DEVICE));
    KernelRoute {
        table,
        destination: family.everything(),
        metric: TUNNEL_METRIC,
        kind,
    }
}

fn unreachable_default(family: Family) -> KernelRoute {
    let kind = RouteKind::Unreachable;
    KernelRoute {
        table: TABLE,
        destination: family.everything(),
        metric: UNREACHABLE_METRIC,
        kind,
    }
}

fn all() -> BTreeSet<KernelRoute> {
    Family::BOTH
        .into_iter()
        .flat_map(|family| [into_tunnel(family, TABLE), unreachable_default(family)])
        .collect()
}

async fn add_all(host: &impl Host) -> CaseResult {
    tunnel_up(host).await?;
    for route in all() {
        host.add_route(&route).await?;
    }
    Ok(())
}

/// `ip route show table 51820`, `ip -6 route show table 51820`.
pub async fn a_route_reads_back_with_its_table_and_metric(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    assert_eq!(host.list_routes().await?, all());
    Ok(())
}

/// `ip route replace`.
pub async fn adding_a_route_twice_replaces_it(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    for route in all() {
        host.add_route(&route).await?;
    }
    assert_eq!(host.list_routes().await?, all());
    for family in Family::BOTH {
        let other = KernelRoute {
            kind: RouteKind::Unreachable,
            ..into_tunnel(family, TABLE)
        };
        host.add_route(&other).await?;
        let there = host.list_routes().await?;
        assert!(
            there.contains(&other) && !there.contains(&into_tunnel(family, TABLE)),
            "{there:?}"
        );
    }
    Ok(())
}

/// The tunnel route with the unreachable default below it.
pub async fn routes_of_two_metrics_stand_side_by_side(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    for family in Family::BOTH {
        host.remove_route(&into_tunnel(family, TABLE)).await?;
    }
    assert_eq!(
        host.list_routes().await?,
        Family::BOTH.into_iter().map(unreachable_default).collect()
    );
    Ok(())
}

/// `ESRCH`.
pub async fn removing_a_route_that_is_not_there_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    for family in Family::BOTH {
        refused(
            &host.remove_route(&unreachable_default(family)).await,
            errno::ESRCH,
            "no such route",
        );
    }
    Ok(())
}

/// `ENETDOWN`: bring the link up before its routes are added.
pub async fn a_route_into_a_link_that_is_down_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    host.add_link(&tunnel_link()).await?;
    for family in Family::BOTH {
        refused(
            &host.add_route(&into_tunnel(family, TABLE)).await,
            errno::ENETDOWN,
            "the link is down",
        );
    }
    Ok(())
}

/// `ip monitor route` shows nothing for IPv4 when it happens, and up does not bring them back.
pub async fn a_link_that_goes_down_loses_its_routes_of_every_table(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    for family in Family::BOTH {
        host.add_route(&into_tunnel(family, 100)).await?;
    }
    other_program.sets_state(DEVICE, AdminState::Down).await;
    let left: BTreeSet<KernelRoute> = Family::BOTH.into_iter().map(unreachable_default).collect();
    assert_eq!(host.list_routes().await?, left);
    other_program.sets_state(DEVICE, AdminState::Up).await;
    assert_eq!(host.list_routes().await?, left, "up brings nothing back");
    Ok(())
}

/// The same for a device that is deleted.
pub async fn a_link_that_is_removed_loses_its_routes(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    other_program.removes_link(DEVICE).await;
    assert_eq!(
        host.list_routes().await?,
        Family::BOTH.into_iter().map(unreachable_default).collect()
    );
    Ok(())
}

fn rules() -> Vec<RoutingRule> {
    let by_mark = |family| RuleSelector::Mark {
        family,
        value: 0x10,
        mask: 0x70,
    };
    let from4 = RuleSelector::From([198, 18, 0, 5].into());
    let from6 = RuleSelector::From(std::net::Ipv6Addr::new(0xfd64, 0, 0, 0, 0, 0, 0, 5).into());
    vec![
        RoutingRule {
            priority: FROM_RULE_PRIORITY,
            selector: from4,
            table: TABLE,
        },
        RoutingRule {
            priority: MARK_RULE_PRIORITY,
            selector: by_mark(Family::V4),
            table: TABLE,
        },
        RoutingRule {
            priority: FROM_RULE_PRIORITY,
            selector: from6,
            table: TABLE,
        },
        RoutingRule {
            priority: MARK_RULE_PRIORITY,
            selector: by_mark(Family::V6),
            table: TABLE,
        },
    ]
}

/// `ip rule`, `ip -6 rule`; the kernel's own rules are not listed.
pub async fn a_rule_reads_back(host: &impl Host, _: &impl OtherProgram) -> CaseResult {
    for rule in rules() {
        host.add_rule(&rule).await?;
    }
    assert_eq!(host.list_rules().await?, rules());
    Ok(())
}

/// `EEXIST`; with `NLM_F_REPLACE` there would be two of them.
pub async fn a_rule_cannot_be_added_twice(host: &impl Host, _: &impl OtherProgram) -> CaseResult {
    for rule in rules() {
        host.add_rule(&rule).await?;
        refused(&host.add_rule(&rule).await, errno::EEXIST, "a second time");
    }
    assert_eq!(host.list_rules().await?, rules());
    Ok(())
}

/// `ENOENT`.
pub async fn removing_a_rule_that_is_not_there_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    for rule in rules() {
        refused(
            &host.remove_rule(&rule).await,
            errno::ENOENT,
            "no such rule",
        );
        host.add_rule(&rule).await?;
        host.remove_rule(&rule).await?;
    }
    assert_eq!(host.list_rules().await?, []);
    Ok(())
}
