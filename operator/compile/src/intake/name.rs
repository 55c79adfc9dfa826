//! Names that a rule allows, from what people write to their one normal form.

use postern_intent::NamePattern;

use super::invalid;
use crate::snapshot::SpecRefusal;

/// A name in lower case, with A-labels and without the dot at its end (RFC 5891; UTS 46 maps what people type).
///
/// # Errors
/// What cannot be a name, with what was written.
pub fn name(field: &str, written: &str) -> Result<NamePattern, SpecRefusal> {
    let refused = || {
        invalid(format!(
            "{field}: {written:?} is not a name such as api.example.org or *.example.org"
        ))
    };
    let (star, rest) = match written.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", written),
    };
    let rest = rest.strip_suffix('.').unwrap_or(rest);
    // A name of ASCII letters is only put into lower case: `_` is no letter of a host name, but is one of a service's.
    let rest = if rest.is_ascii() {
        rest.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii_strict(rest).map_err(|_| refused())?
    };
    format!("{star}{rest}").parse().map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::name;

    fn form(text: &str) -> Option<String> {
        name("spec", text).ok().map(String::from)
    }

    #[test]
    fn case_the_dot_at_the_end_and_the_way_an_idn_is_written_do_not_matter() {
        for (written, wanted) in [
            ("Api.Example.ORG.", "api.example.org"),
            ("*.EXAMPLE.org", "*.example.org"),
            ("München.de", "xn--mnchen-3ya.de"),
            ("MÜNCHEN.DE.", "xn--mnchen-3ya.de"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("XN--MNCHEN-3YA.de", "xn--mnchen-3ya.de"),
            ("*.пример.рф", "*.xn--e1afmkfd.xn--p1ai"),
            ("_sip._tcp.example.org", "_sip._tcp.example.org"),
        ] {
            assert_eq!(form(written).as_deref(), Some(wanted), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_what_was_written() {
        for written in [
            "",
            "*",
            "*.",
            ".",
            "org",
            "a..org",
            "a.*.org",
            "192.0.2.1",
            "a b.org",
            "a.org..",
            "ü ü.de",
        ] {
            assert_eq!(form(written), None, "{written:?}");
        }
        let refusal = name("spec.rules[0].to", "a..org").unwrap_err();
        assert!(
            refusal.message.contains("\"a..org\""),
            "{}",
            refusal.message
        );
    }
}
