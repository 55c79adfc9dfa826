//! Routing rules of ours: those with our protocol number.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteHeader, RouteProtocol};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use postern_host::error::{HostCause, HostError};
use postern_host::ports::{HostResult, Rules};
use postern_intent::Prefix;
use postern_plan::host::{Family, RoutingRule, RuleSelector};
use postern_plan::settings::ROUTE_PROTOCOL;

use crate::host::LinuxHost;
use crate::route::address_family;
use crate::rtnl::Rtnl;

impl Rules for LinuxHost {
    async fn list_rules(&self) -> HostResult<Vec<RoutingRule>> {
        list(self.rtnl())
            .await
            .map_err(|source| HostError::ListRules { source })
    }

    async fn add_rule(&self, rule: &RoutingRule) -> HostResult<()> {
        // With `NLM_F_EXCL` the kernel compares by itself; with `NLM_F_REPLACE` it would add a second one.
        let request = RouteNetlinkMessage::NewRule(encode(rule));
        let added = self.rtnl().act(request, NLM_F_CREATE | NLM_F_EXCL).await;
        added.map(drop).map_err(|source| HostError::AddRule {
            rule: Box::new(rule.clone()),
            source,
        })
    }

    async fn remove_rule(&self, rule: &RoutingRule) -> HostResult<()> {
        let removed = self
            .rtnl()
            .act(RouteNetlinkMessage::DelRule(encode(rule)), 0)
            .await;
        removed.map(drop).map_err(|source| HostError::RemoveRule {
            rule: Box::new(rule.clone()),
            source,
        })
    }
}

async fn list(rtnl: &Rtnl) -> Result<Vec<RoutingRule>, HostCause> {
    let mut out = Vec::new();
    for family in Family::BOTH {
        let mut message = RuleMessage::default();
        message.header.family = address_family(family);
        for answer in rtnl.dump(RouteNetlinkMessage::GetRule(message)).await? {
            if let RouteNetlinkMessage::NewRule(rule) = answer {
                out.extend(decode(family, &rule));
            }
        }
    }
    Ok(out)
}

fn decode(family: Family, message: &RuleMessage) -> Option<RoutingRule> {
    let (mut ours, mut priority, mut table) = (false, 0, u32::from(message.header.table));
    let (mut value, mut mask, mut source) = (None, u32::MAX, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Protocol(protocol) => {
                ours = *protocol == RouteProtocol::Other(ROUTE_PROTOCOL)
            }
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::FwMark(mark) => value = Some(*mark),
            RuleAttribute::FwMask(bits) => mask = *bits,
            RuleAttribute::Source(address) => source = Some(*address),
            _ => {}
        }
    }
    let selector = match (value, source) {
        (Some(value), None) => RuleSelector::Mark {
            family,
            value,
            mask,
        },
        (None, Some(address)) => RuleSelector::From(address),
        _ => return None,
    };
    (ours && message.header.action == RuleAction::ToTable).then_some(RoutingRule {
        priority,
        selector,
        table,
    })
}

fn encode(rule: &RoutingRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = address_family(rule.selector.family());
    message.header.action = RuleAction::ToTable;
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message
        .attributes
        .push(RuleAttribute::Protocol(RouteProtocol::Other(
            ROUTE_PROTOCOL,
        )));
    message
        .attributes
        .push(RuleAttribute::Priority(rule.priority));
    message.attributes.push(RuleAttribute::Table(rule.table));
    match &rule.selector {
        RuleSelector::Mark {
            family: _,
            value,
            mask,
        } => {
            message.attributes.push(RuleAttribute::FwMark(*value));
            message.attributes.push(RuleAttribute::FwMask(*mask));
        }
        RuleSelector::From(address) => {
            message.header.src_len = Prefix::host(*address).net().prefix_len();
            message.attributes.push(RuleAttribute::Source(*address));
        }
    }
    message
}
