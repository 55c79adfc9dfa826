//! What a field is compared with when it is no named set: values with a type, so that a rule can be evaluated as well as
//! printed.

use std::fmt;

use postern_intent::body::PortSpan;
use postern_intent::{Address, Prefix};

use crate::host::Family;

/// One value, in the notation in which nft prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Address(Address),
    Prefix(Prefix),
    /// Ports, both ends included.
    Ports(PortSpan),
    /// A decimal number: a protocol, a hop limit.
    Number(u64),
    /// A hexadecimal number: a mark, an ethertype.
    Hex(u64),
    /// An interface name; it ends in `*` where it is the start of names.
    Name(String),
    /// A word of nft's language: `tcp`, `reply`, `nd-neighbor-advert`.
    Word(String),
}

/// One value, or an anonymous set of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    One(Value),
    Any(Vec<Value>),
}

impl Literal {
    #[must_use]
    pub fn values(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Any(values) => values,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Ports(span) => span.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Hex(number) => write!(f, "{number:#x}"),
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Word(word) => word.fmt(f),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(value) => value.fmt(f),
            Self::Any(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "{{ {} }}", values.join(", "))
            }
        }
    }
}

/// A constant as it is written in nft's language, such as `reply` or `{ ::, fe80::/10 }`.
impl From<&'static str> for Literal {
    fn from(text: &'static str) -> Self {
        let inner = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match inner {
            Some(list) => Self::Any(list.split(',').map(|item| value(item.trim())).collect()),
            None => Self::One(value(text)),
        }
    }
}

fn value(text: &str) -> Value {
    if let Some(hex) = text.strip_prefix("0x")
        && let Ok(number) = u64::from_str_radix(hex, 16)
    {
        return Value::Hex(number);
    }
    if let Ok(number) = text.parse() {
        return Value::Number(number);
    }
    if let Ok(address) = text.parse() {
        return Value::Address(address);
    }
    text.parse()
        .map_or_else(|_| Value::Word(text.to_owned()), Value::Prefix)
}

impl From<Value> for Literal {
    fn from(value: Value) -> Self {
        Self::One(value)
    }
}

impl From<u16> for Literal {
    fn from(port: u16) -> Self {
        Self::One(Value::Number(port.into()))
    }
}

impl From<Address> for Literal {
    fn from(address: Address) -> Self {
        Self::One(Value::Address(address))
    }
}

/// `ipv4` or `ipv6`, as `meta nfproto` has it.
impl From<Family> for Literal {
    fn from(family: Family) -> Self {
        let word = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        Self::One(Value::Word(word.to_owned()))
    }
}

impl From<&[Prefix]> for Literal {
    fn from(prefixes: &[Prefix]) -> Self {
        Self::Any(prefixes.iter().copied().map(Value::Prefix).collect())
    }
}

impl From<&[PortSpan]> for Literal {
    fn from(spans: &[PortSpan]) -> Self {
        Self::Any(spans.iter().copied().map(Value::Ports).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Literal, Value};

    #[test]
    fn a_constant_prints_as_it_is_written_and_has_typed_values() {
        for text in [
            "reply",
            "{ tcp, udp }",
            "{ ::, fe80::/10 }",
            "ff02::/16",
            "{ 0x8100, 0x88a8 }",
            "255",
            "{ 4, 41 }",
        ] {
            assert_eq!(Literal::from(text).to_string(), text);
        }
        let values = Literal::from("{ tcp, 0x10, 4 }");
        assert_eq!(
            values.values(),
            [
                Value::Word("tcp".to_owned()),
                Value::Hex(0x10),
                Value::Number(4)
            ]
        );
    }
}
