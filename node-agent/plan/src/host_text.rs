//! Routes, routing rules and XFRM policies as ip(8) prints them: steps are compared with its output by people.

use std::fmt;

use crate::host::{
    Family, KernelRoute, LockAction, LockPolicy, RouteKind, RoutingRule, RuleSelector,
};

impl fmt::Display for KernelRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = &self.destination;
        match &self.kind {
            RouteKind::Device(device) => write!(f, "{destination} dev {device}")?,
            RouteKind::Unreachable => write!(f, "unreachable {destination}")?,
        }
        write!(f, " table {} metric {}", self.table, self.metric)
    }
}

impl fmt::Display for RoutingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.priority)?;
        match &self.selector {
            RuleSelector::Mark {
                family,
                value,
                mask,
            } => {
                let family = match family {
                    Family::V4 => "IPv4",
                    Family::V6 => "IPv6",
                };
                write!(f, "{family} fwmark {value:#x}/{mask:#x}")?;
            }
            RuleSelector::From(address) => write!(f, "from {address}")?,
        }
        write!(f, " lookup {}", self.table)
    }
}

impl fmt::Display for LockPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            LockAction::Allow => "allow",
            LockAction::Block => "block",
        };
        let (source, destination) = (&self.source, &self.destination);
        write!(f, "src {source} dst {destination} dir fwd action {action}")?;
        write!(f, " priority {}", self.priority)?;
        match &self.mark {
            Some(mark) => write!(f, " mark {:#x}/{:#x}", mark.value, mark.mask),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MaskedMark;

    #[test]
    fn each_of_them_is_one_line_in_the_words_of_ip() {
        let route = KernelRoute {
            table: 1001,
            destination: "10.0.0.0/8".parse().unwrap(),
            metric: 10,
            kind: RouteKind::Device("pst-c-eu".parse().unwrap()),
        };
        assert_eq!(
            route.to_string(),
            "10.0.0.0/8 dev pst-c-eu table 1001 metric 10"
        );
        let rule = RoutingRule {
            priority: 100,
            selector: RuleSelector::Mark {
                family: Family::V6,
                value: 0x10,
                mask: 0x70,
            },
            table: 1001,
        };
        assert_eq!(rule.to_string(), "100: IPv6 fwmark 0x10/0x70 lookup 1001");
        let lock = LockPolicy {
            source: "10.244.0.0/16".parse().unwrap(),
            destination: "0.0.0.0/0".parse().unwrap(),
            priority: 7,
            action: LockAction::Block,
            mark: Some(MaskedMark {
                value: 0x10,
                mask: 0x70,
            }),
        };
        let printed =
            "src 10.244.0.0/16 dst 0.0.0.0/0 dir fwd action block priority 7 mark 0x10/0x70";
        assert_eq!(lock.to_string(), printed);
    }
}
