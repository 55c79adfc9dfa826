//! A decision as a log record of OpenTelemetry: the fields of its line under the names of OpenTelemetry's semantic conventions where
//! there are any, else below `postern.`.

use std::net::IpAddr;
use std::time::SystemTime;

use postern_agent_core::records::{DecisionRecord, RecordSubject};
use postern_plan::host::LoggedPacket;
use postern_telemetry::{EntryValue, LogEntry};

type Attribute = (&'static str, EntryValue);

const EVENT: &str = "postern.decision";

/// Metadata only, as in the line.
pub(super) fn log_entry(record: &DecisionRecord, at: SystemTime) -> LogEntry {
    let pod = &record.pod;
    let verdict = format!("{:?}", record.verdict);
    let (about, subject) = match &record.about {
        RecordSubject::Connection(packet) => (packet.destination.to_string(), connection(packet)),
        RecordSubject::Name(name) => (
            name.clone(),
            vec![("dns.question.name", EntryValue::Text(name.clone()))],
        ),
    };
    let body = format!("{verdict}: {}/{} to {about}", pod.namespace, pod.name);
    let words = [
        ("postern.verdict", Some(verdict)),
        ("postern.reason", Some(record.reason.to_owned())),
        ("postern.rule", record.rule.clone()),
        ("postern.policy", Some(pod.policy.name.clone())),
        ("k8s.namespace.name", Some(pod.namespace.to_string())),
        ("k8s.pod.name", Some(pod.name.to_string())),
        ("k8s.pod.uid", Some(pod.uid.to_string())),
    ];
    let words = words.into_iter();
    let words = words.filter_map(|(key, word)| Some((key, EntryValue::Text(word?))));
    LogEntry {
        at,
        event: EVENT,
        body,
        attributes: words.chain(subject).collect(),
    }
}

fn connection(packet: &LoggedPacket) -> Vec<Attribute> {
    let address = |address: IpAddr| EntryValue::Text(address.to_string());
    let number = |number: i64| EntryValue::Number(number);
    let port = packet.ports.map(|(_, port)| number(port.into()));
    let bytes = packet.length.map(|length| number(length.into()));
    // The conventions have no value for ICMP and other protocols that are no transport.
    let transport = match packet.protocol {
        6 => Some("tcp"),
        17 => Some("udp"),
        _ => None,
    };
    let transport = transport.map(|word| EntryValue::Text(word.to_owned()));
    let fields = [
        ("source.address", Some(address(packet.source))),
        ("destination.address", Some(address(packet.destination))),
        ("destination.port", port),
        ("network.transport", transport),
        ("postern.protocol", Some(number(packet.protocol.into()))),
        ("postern.bytes", bytes),
    ];
    let fields = fields.into_iter();
    fields
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use postern_agent_core::records::{AuditedPod, RecordVerdict};
    use postern_intent::body::PolicyRef;

    use super::*;

    fn record(about: RecordSubject, rule: Option<&str>) -> DecisionRecord {
        let policy = PolicyRef {
            namespace: "crawlers".parse().unwrap(),
            name: "crawler".to_owned(),
            uid: "p-uid".parse().unwrap(),
            generation: 1,
        };
        DecisionRecord {
            pod: AuditedPod {
                namespace: "crawlers".parse().unwrap(),
                name: "web".parse().unwrap(),
                uid: "w-uid".parse().unwrap(),
                policy,
            },
            verdict: RecordVerdict::WouldDeny,
            reason: "Rule",
            rule: rule.map(ToOwned::to_owned),
            about,
        }
    }

    fn packet(protocol: u8, ports: Option<(u16, u16)>) -> LoggedPacket {
        LoggedPacket {
            name: "a chain".to_owned(),
            source: "10.244.1.2".parse().unwrap(),
            destination: "2001:db8::7".parse().unwrap(),
            protocol,
            ports,
            length: Some(60),
        }
    }

    /// Everything that a record carries: neither more nor less than its line.
    fn carried(record: &DecisionRecord) -> Vec<String> {
        let entry = log_entry(record, SystemTime::UNIX_EPOCH);
        assert_eq!(
            (entry.at, entry.event),
            (SystemTime::UNIX_EPOCH, "postern.decision")
        );
        let attributes = entry.attributes.iter();
        let lines = attributes.map(|(key, value)| match value {
            EntryValue::Text(text) => format!("{key}={text}"),
            EntryValue::Number(number) => format!("{key}: {number}"),
        });
        std::iter::once(entry.body.clone()).chain(lines).collect()
    }

    const POD: [&str; 4] = [
        "postern.policy=crawler",
        "k8s.namespace.name=crawlers",
        "k8s.pod.name=web",
        "k8s.pod.uid=w-uid",
    ];

    #[test]
    fn a_record_has_the_fields_of_its_line_as_attributes_and_nothing_else() {
        let connection = RecordSubject::Connection(packet(6, Some((40_000, 443))));
        let head = [
            "WouldDeny: crawlers/web to 2001:db8::7",
            "postern.verdict=WouldDeny",
            "postern.reason=Rule",
        ];
        let addresses = [
            "source.address=10.244.1.2",
            "destination.address=2001:db8::7",
        ];
        let tail = [
            "destination.port: 443",
            "network.transport=tcp",
            "postern.protocol: 6",
            "postern.bytes: 60",
        ];
        let rule = ["postern.rule=shop"];
        let wanted = [&head[..], &rule, &POD, &addresses, &tail].concat();
        assert_eq!(carried(&record(connection, Some("shop"))), wanted);

        let echo = RecordSubject::Connection(packet(58, None));
        let tail = ["postern.protocol: 58", "postern.bytes: 60"];
        let wanted = [&head[..], &POD, &addresses, &tail].concat();
        assert_eq!(carried(&record(echo, None)), wanted);

        let name = RecordSubject::Name("never.example.org".to_owned());
        let head = [
            "WouldDeny: crawlers/web to never.example.org",
            head[1],
            head[2],
        ];
        let wanted = [&head[..], &POD, &["dns.question.name=never.example.org"]].concat();
        assert_eq!(carried(&record(name, None)), wanted);
    }
}
