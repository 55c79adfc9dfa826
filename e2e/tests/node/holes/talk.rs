//! Connections and echoes of a pod to the world that last, and end when they are cut.

use std::path::PathBuf;
use std::process::Child;

use postern_e2e::lab::{Exec, PodRecord};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, wait_until};

use super::lab_program;

/// A process in a pod that appends something to a file for as long as the world answers.
pub(crate) struct Talk {
    what: String,
    out: PathBuf,
    process: Child,
}

impl Talk {
    /// A line to port 7 on one connection ten times a second, each answer of which is appended. It ends when an answer
    /// stays away for two seconds.
    pub(crate) fn converse(lab: &TestLab, pod: &PodRecord, family: usize) -> Self {
        let to = pod.world[family];
        let start = |out: &str| {
            format!(
                "exec 3<>/dev/tcp/{to}/7; while echo x >&3 && read -t 2 -u 3 seen; do echo $seen >> {out}; sleep 0.1; done"
            )
        };
        Self::start(lab, pod, &format!("conversation with {to}"), start)
    }

    /// What a server says unasked on port 19, so that no packet of the pod mends a cut flow.
    pub(crate) fn listen(lab: &TestLab, pod: &PodRecord, to: std::net::IpAddr) -> Self {
        let start = |out: &str| format!("exec cat </dev/tcp/{to}/19 >{out}");
        Self::start(lab, pod, &format!("stream of {to}"), start)
    }

    /// Echo requests with one identifier. It ends after three seconds without a reply.
    pub(crate) fn echo(lab: &TestLab, pod: &PodRecord, family: usize) -> Self {
        Self::asking(lab, pod, family, "icmp")
    }

    /// Datagrams to port 7 from one port. It ends as [`Talk::echo`] does.
    pub(crate) fn datagrams(lab: &TestLab, pod: &PodRecord, family: usize) -> Self {
        Self::asking(lab, pod, family, "udp")
    }

    fn asking(lab: &TestLab, pod: &PodRecord, family: usize, protocol: &str) -> Self {
        let (to, program) = (pod.world[family], lab_program());
        let start = |out: &str| {
            format!(
                "missed=0; {program} send --protocol {protocol} --every 50ms --to {to} 2>/dev/null | while read -r line; do \
                 case $line in *'\"received\":0,'*) missed=$((missed + 1)); [ $missed -lt 3 ] || exit 0;; \
                 *) missed=0; echo \"$line\" >> {out};; esac; done"
            )
        };
        Self::start(lab, pod, &format!("{protocol} to {to}"), start)
    }

    fn start(lab: &TestLab, pod: &PodRecord, what: &str, line: impl Fn(&str) -> String) -> Self {
        let what = format!("{}, {what}", pod.key());
        let name: String = what
            .chars()
            .map(|one| if one.is_alphanumeric() { one } else { '-' })
            .collect();
        let out = lab.dir().join("run").join(name);
        let line = line(&out.display().to_string());
        let command = ["bash", "-c", &line].map(Into::into);
        let mut command = lab.command(Exec::Pod(&pod.key()), &command).unwrap();
        let process = command.spawn().unwrap();
        let mut talk = Self { what, out, process };
        talk.goes_on("at first");
        talk
    }

    fn length(&self) -> u64 {
        std::fs::metadata(&self.out).map_or(0, |meta| meta.len())
    }

    /// More comes than what was on its way.
    pub(crate) fn goes_on(&mut self, when: &str) {
        let before = self.length();
        let what = format!("{} {when}", self.what);
        wait_until(WAIT_DEADLINE / 3, &what, || {
            Ok((self.length() >= before + 100).then_some(()))
        })
        .unwrap();
        assert!(!self.has_ended(), "{what}");
    }

    pub(crate) fn ends(&mut self) {
        let what = format!("the end of {}", self.what);
        wait_until(WAIT_DEADLINE, &what, || Ok(self.has_ended().then_some(()))).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
