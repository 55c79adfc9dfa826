//! What others have on this node, for preflight: only questions, nothing is changed.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_XFRM};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::HostResult;
use postern_plan::host::{Family, MaskedMark};
use postern_plan::ruleset::Transaction;
use serde_json::Value;

use crate::firewall::run;
use crate::host::LinuxHost;
use crate::lock;
use crate::netlink::{self, attribute, attributes, put, u32_at};
use crate::route::address_family;

/// A routing rule, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSeen {
    /// In whose list it is.
    pub family: Family,
    /// Lower is asked first.
    pub priority: u32,
    /// `FRA_PROTOCOL`: who made it; 0 where nobody says so.
    pub protocol: u8,
    /// The mark that it looks at.
    pub mark: Option<MaskedMark>,
    /// The table that it leads to.
    pub table: u32,
}

/// A mark in a rule of iptables' own modules, which nft's JSON shows as no more than `xt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleMark {
    pub table: String,
    pub chain: String,
    /// Does the rule set it, or only look at it?
    pub act: MarkAct,
    pub bits: u32,
}

/// What a rule does with a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkAct {
    /// It decides by it.
    Reads,
    Sets,
}

/// What IPsec has in the kernel, our own locks apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ipsec {
    pub policies: usize,
    pub states: usize,
}

/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_GET_STATS`.
const FLOW_STATISTICS: u16 = (1 << 8) | 5;
/// `NFNL_SUBSYS_NFTABLES`, `NFT_MSG_GETRULE`.
const GET_RULES: u16 = (10 << 8) | 7;
/// `XFRM_MSG_GETSA`.
const GET_STATES: u16 = 0x12;
/// `GENL_ID_CTRL`.
const CONTROLLER: u16 = 0x10;
/// `CTRL_CMD_GETFAMILY`, version 2.
const GET_FAMILY: [u8; 4] = [3, 2, 0, 0];
/// `CTRL_ATTR_FAMILY_NAME`.
const FAMILY_NAME: u16 = 2;

impl LinuxHost {
    /// The whole ruleset by nft's JSON, without the elements of sets.
    ///
    /// # Errors
    /// [`HostError::ReadFirewall`].
    pub async fn ruleset(&self) -> HostResult<Value> {
        let failed = |source| HostError::ReadFirewall {
            table: "of every family",
            source,
        };
        let listing = run::list_everything().await.map_err(failed)?;
        let broken = |_| {
            failed(HostCause::Answer {
                what: "the listing is no JSON",
            })
        };
        serde_json::from_slice(&listing).map_err(broken)
    }

    /// Asks the kernel whether it would take a batch.
    ///
    /// # Errors
    /// [`HostError::ChangeFirewall`] with what nft or the kernel said.
    pub async fn rehearse(&self, transaction: &Transaction) -> HostResult<()> {
        run::rehearse(&transaction.to_string())
            .await
            .map_err(|source| HostError::ChangeFirewall {
                summary: "check only".to_owned(),
                source,
            })
    }

    /// Every routing rule of both families.
    ///
    /// # Errors
    /// [`HostError::ListRules`].
    pub async fn every_rule(&self) -> HostResult<Vec<RuleSeen>> {
        let mut out = Vec::new();
        for family in Family::BOTH {
            let mut message = RuleMessage::default();
            message.header.family = address_family(family);
            let answers = self
                .rtnl()
                .dump(RouteNetlinkMessage::GetRule(message))
                .await;
            for answer in answers.map_err(|source| HostError::ListRules { source })? {
                if let RouteNetlinkMessage::NewRule(rule) = answer {
                    out.push(rule_seen(family, &rule));
                }
            }
        }
        Ok(out)
    }

    /// Policies and states of IPsec.
    ///
    /// # Errors
    /// [`HostError::ListLocks`]: the kernel has no XFRM, or does not let us read it.
    pub async fn ipsec(&self) -> HostResult<Ipsec> {
        let failed = |source| HostError::ListLocks { source };
        let policies = lock::foreign().await.map_err(failed)?;
        let states = netlink::dump(NETLINK_XFRM, GET_STATES, &[])
            .await
            .map_err(failed)?;
        Ok(Ipsec {
            policies,
            states: states.len(),
        })
    }

    /// Can connection tracking be asked?
    ///
    /// # Errors
    /// [`HostError::ListFlows`].
    pub async fn flow_tracking(&self) -> HostResult<()> {
        let answer = netlink::get(NETLINK_NETFILTER, FLOW_STATISTICS, &[0; 4]).await;
        answer
            .map(drop)
            .map_err(|source| HostError::ListFlows { source })
    }

    /// Does the kernel know WireGuard? Asked by its name in generic netlink, which makes no device.
    ///
    /// # Errors
    /// [`HostError::Open`].
    pub async fn knows_wireguard(&self) -> HostResult<bool> {
        let mut request = GET_FAMILY.to_vec();
        put(&mut request, FAMILY_NAME, b"wireguard\0");
        match netlink::get(NETLINK_GENERIC, CONTROLLER, &request).await {
            Ok(_) => Ok(true),
            Err(HostCause::Errno {
                errno: errno::ENOENT,
            }) => Ok(false),
            Err(source) => Err(HostError::Open {
                socket: "generic netlink",
                source,
            }),
        }
    }

    /// Marks in rules that iptables made with modules of its own.
    ///
    /// # Errors
    /// [`HostError::ReadFirewall`].
    pub async fn module_marks(&self) -> HostResult<Vec<ModuleMark>> {
        let rules = netlink::dump(NETLINK_NETFILTER, GET_RULES, &[0; 4]).await;
        let rules = rules.map_err(|source| HostError::ReadFirewall {
            table: "of iptables",
            source,
        })?;
        Ok(rules.iter().flat_map(|rule| of_rule(&rule.body)).collect())
    }
}

fn rule_seen(family: Family, message: &RuleMessage) -> RuleSeen {
    let table = u32::from(message.header.table);
    let mut seen = RuleSeen {
        family,
        priority: 0,
        protocol: 0,
        mark: None,
        table,
    };
    let (mut value, mut mask) = (None, u32::MAX);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Protocol(protocol) => seen.protocol = u8::from(*protocol),
            RuleAttribute::Priority(number) => seen.priority = *number,
            RuleAttribute::Table(number) => seen.table = *number,
            RuleAttribute::FwMark(mark) => value = Some(*mark),
            RuleAttribute::FwMask(bits) => mask = *bits,
            _ => {}
        }
    }
    // The kernel keeps a mask also of rules that look at no mark: it is 0 then.
    seen.mark = value
        .map(|value| MaskedMark { value, mask })
        .filter(|mark| mark.mask != 0);
    seen
}

/// Attributes of `struct nfgenmsg` (4), `NFTA_RULE_TABLE`, `_CHAIN` and `_EXPRESSIONS`.
fn of_rule(body: &[u8]) -> Vec<ModuleMark> {
    let rest = body.get(4..).unwrap_or_default();
    let word = |kind| attribute(rest, kind).map(text).unwrap_or_default();
    let (table, chain) = (word(1), word(2));
    let expressions = attribute(rest, 4).map(attributes).unwrap_or_default();
    let marks = expressions
        .into_iter()
        .filter_map(|(_, expression)| of_expression(expression));
    marks
        .map(|(act, bits)| ModuleMark {
            table: table.clone(),
            chain: chain.clone(),
            act,
            bits,
        })
        .collect()
}

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`; of a target or match: its name (1), revision (2), information (3). Structures by
/// `include/uapi/linux/netfilter/xt_mark.h` and `xt_connmark.h`.
fn of_expression(expression: &[u8]) -> Option<(MarkAct, u32)> {
    const RESTORE: u8 = 2;
    let kind = text(attribute(expression, 1)?);
    let data = attribute(expression, 2)?;
    let information = attribute(data, 3)?;
    match (kind.as_str(), text(attribute(data, 1)?).as_str()) {
        ("target", "MARK") => Some((
            MarkAct::Sets,
            u32_at(information, 0)? | u32_at(information, 4)?,
        )),
        ("target", "CONNMARK") if information.get(12) == Some(&RESTORE) => {
            Some((MarkAct::Sets, u32_at(information, 8)?))
        }
        ("match", "mark") => Some((MarkAct::Reads, u32_at(information, 4)?)),
        _ => None,
    }
}

/// A string attribute, which ends with a zero.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}
