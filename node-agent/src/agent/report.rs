//! What the agent gives to [`ReportInputs`], which composes the report.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_agent_core::report::{
    FailedStep, GuardMeans, InForce, NodeRelease, NodeSetup, PluginUse, ReportInputs, ReportTime,
    RunResult,
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
        self.metrics
            .found(self.last.seal().unwrap_or(Seal::NotSealed), serial);
        let inputs = self.report_inputs();
        let (now, findings) = (inputs.time.now, inputs.findings());
        let mut status = inputs.status();
        status.conditions = self.report.conditions();
        for finding in findings {
            postern_crds::conditions::set(&mut status.conditions, &finding, None, now);
        }
        let report = NodeReport {
            metadata: ObjectMeta {
                name: Some(self.node.name.to_string()),
                ..ObjectMeta::default()
            },
            spec: NodeReportSpec {
                node_uid: self.node.uid.to_string(),
            },
            status: Some(status),
        };
        self.report.take(report);
    }

    /// What the agent saw, without conditions.
    pub fn status(&self) -> NodeReportStatus {
        self.report_inputs().status()
    }

    /// Everything that a report depends on, borrowed from the agent.
    pub fn report_inputs(&self) -> ReportInputs<'_> {
        ReportInputs {
            in_force: self.in_force(),
            read_back: self.last.read_back.as_deref(),
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
            ledger: self.ledger_lost,
            serial: self.ledger.entries().serial,
            cluster_serial: self.ledger.entries().cluster_serial,
            keys: &self.keys,
            key_difference: self.other_keys(),
            bindings: self.bindings.get(),
            standing_refusal: self.inbox.standing_refusal(),
            refusals: &self.refusals,
        }
    }

    fn run_result(&self) -> RunResult<'_> {
        let failures = self.last.failures.iter();
        let failures = failures.map(|(stage, step, error)| FailedStep {
            stage: *stage,
            step: step.clone(),
            message: chain(error),
        });
        let scopes = self.scopes.iter();
        let bypasses = self.last.bypasses.iter();
        RunResult {
            failures: failures.collect(),
            owed_cuts: &self.owed_cuts,
            verified_at: self.last.verified_at,
            tunnels: &self.last.tunnels,
            probes: &self.last.probes,
            scopes: scopes
                .map(|(id, track)| (id.clone(), track.status))
                .collect(),
            lease: self.lease_reading(),
            bypasses: bypasses
                .map(|(link, bypass)| (link.clone(), bypass.to_string()))
                .collect(),
            counters: &self.counters,
        }
    }

    fn node_setup(&self) -> NodeSetup<'_> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        NodeSetup {
            facts: &self.facts,
            plugin: match self.plugin {
                Plugin::Expected => PluginUse::Expected,
                Plugin::None => PluginUse::None,
            },
            second_lock: self.settings.second_lock,
            no_lock: self.last.no_lock.as_ref().map(|error| chain(error)),
            guard: match self.has_no_guard() {
                true => GuardMeans::Absent,
                false => GuardMeans::Present,
            },
            kernel: release.unwrap_or_default().trim().to_owned(),
            wireguard_key: &self.key.public,
            key_proofs: self.key.prove(&self.keys, &self.node),
            damages: &self.damages,
            preflight: self.preflight.as_deref(),
        }
    }
}
