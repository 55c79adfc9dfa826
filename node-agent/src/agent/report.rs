//! What the agent gives to [`ReportInputs`], which composes the report.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_agent_core::report::{
    FailedStep, GuardMeans, InForce, NodeRelease, NodeSetup, PACKETS, PluginUse, ReportInputs,
    ReportTime, ReportedRun,
};
use postern_crds::{NodeReport, NodeReportSpec, NodeReportStatus};
use postern_host::Host;
use postern_plan::check::Seal;
use postern_telemetry::chain;

use super::state::Agent;
use crate::options::Plugin;

impl<H: Host> Agent<H> {
    /// Composes the report of the last run and hands it to the writer.
    pub fn write_report(&mut self) {
        let serial = self.body().map(|body| body.serial.0);
        self.output
            .metrics
            .found(self.kernel.last.seal().unwrap_or(Seal::NotSealed), serial);
        let inputs = self.report_inputs();
        let (now, findings) = (inputs.time.now, inputs.findings());
        let (mut status, rules) = inputs.status_and_counts();
        for (name, packets) in &status.counters {
            if let Some(counter) = name.strip_prefix(PACKETS) {
                self.output.metrics.counted_packets(counter, *packets);
            }
        }
        self.output.metrics.rules(&rules);
        self.output.metrics.gateways(&self.kernel.last.probes);
        status.conditions = self.output.report.conditions();
        for finding in findings {
            postern_crds::conditions::set(&mut status.conditions, &finding, None, now);
        }
        let report = NodeReport {
            metadata: ObjectMeta {
                name: Some(self.options.node.name.to_string()),
                ..ObjectMeta::default()
            },
            spec: NodeReportSpec {
                node_uid: self.options.node.uid.to_string(),
            },
            status: Some(status),
        };
        self.output.report.take(report);
    }

    /// What the agent saw, without conditions.
    pub fn status(&self) -> NodeReportStatus {
        self.report_inputs().status()
    }

    /// Everything that a report depends on, borrowed from the agent.
    pub fn report_inputs(&self) -> ReportInputs<'_> {
        ReportInputs {
            in_force: self.in_force(),
            read_back: self.kernel.last.read_back.as_deref(),
            run: self.run_result(),
            setup: self.node_setup(),
            time: ReportTime {
                now: self.clock.now(),
                wall: Timestamp::now(),
            },
        }
    }

    fn in_force(&self) -> InForce<'_> {
        InForce {
            body: self.body(),
            claim: self.inputs().claim(),
            release: match self.is_released() {
                true => NodeRelease::Released,
                false => NodeRelease::Guarded,
            },
            ledger: self.memory.ledger_lost,
            serial: self.memory.ledger.entries().serial,
            cluster_serial: self.memory.ledger.entries().cluster_serial,
            keys: &self.documents.keys,
            key_difference: self.other_keys(),
            bindings: self.memory.bindings.get(),
            standing_refusal: self.documents.inbox.standing_refusal(),
            refusals: &self.documents.refusals,
        }
    }

    fn run_result(&self) -> ReportedRun<'_> {
        let failures = self.kernel.last.failures.iter();
        let failures = failures.map(|(stage, step, error)| FailedStep {
            stage: *stage,
            step: step.clone(),
            message: chain(error),
        });
        let scopes = self.kernel.scopes.iter();
        let bypasses = self.kernel.last.bypasses.iter();
        ReportedRun {
            failures: failures.collect(),
            owed_cuts: &self.kernel.owed_cuts,
            verified_at: self.kernel.last.verified_at,
            tunnels: &self.kernel.last.tunnels,
            sessions: &self.kernel.last.sessions,
            session_faults: self.sessions.faults(),
            probes: &self.kernel.last.probes,
            scopes: scopes
                .map(|(id, track)| (id.clone(), track.status))
                .collect(),
            lease: self.lease_reading(),
            bypasses: bypasses
                .map(|(link, bypass)| (link.clone(), bypass.to_string()))
                .collect(),
            isolation: self.kernel.uplinks.as_ref(),
            egress: &self.kernel.egress,
            open_resolvers: self.dns.open_resolvers(),
            counters: self
                .output
                .counters
                .clone()
                .into_iter()
                .chain(self.dns.questions())
                .collect(),
        }
    }

    fn node_setup(&self) -> NodeSetup<'_> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        NodeSetup {
            facts: &self.kernel.facts,
            plugin: match self.options.plugin {
                Plugin::Expected => PluginUse::Expected,
                Plugin::None => PluginUse::None,
            },
            second_lock: self.options.settings.second_lock,
            no_lock: self.kernel.last.no_lock.as_ref().map(|error| chain(error)),
            guard: match self.has_no_guard() {
                true => GuardMeans::Absent,
                false => GuardMeans::Present,
            },
            kernel: release.unwrap_or_default().trim().to_owned(),
            wireguard_key: &self.memory.key.public,
            key_proofs: self
                .memory
                .key
                .prove(&self.documents.keys, &self.options.node),
            credentials_key: &self.memory.credentials_key.public,
            credentials_proofs: self
                .memory
                .credentials_key
                .prove(&self.documents.keys, &self.options.node),
            damages: &self.output.damages,
            preflight: self.output.preflight.as_deref(),
        }
    }
}
