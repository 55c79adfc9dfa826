//! The reading. Everything acts in the network namespace of the calling thread.

use std::path::Path;

use postern_host::ports::{Links as _, Paths as _, Routes as _, Tunnels as _};
use postern_linux::LinuxHost;
use postern_plan::Desired;
use postern_plan::binding::Bindings;
use postern_plan::desired::{HostFacts, PlanInputs};
use postern_plan::diff::firewall::{change, change_arp};
use postern_plan::diff::table_state::FirewallState;
use postern_plan::settings::NodeSettings;

use super::node::{Files, NodeReading};
use super::paths::pods_are_behind;
use super::ruleset::Foreign;

/// What the agent would write first, without any intent.
#[must_use]
pub fn first_seal(settings: &NodeSettings) -> Desired {
    let (bindings, facts) = (Bindings::default(), HostFacts::default());
    let inputs = PlanInputs {
        settings,
        body: None,
        bindings: &bindings,
        facts: &facts,
    };
    Desired::from_inputs(&inputs)
}

pub async fn look(host: &LinuxHost, settings: &NodeSettings) -> NodeReading {
    let seal = first_seal(settings);
    let nothing = FirewallState::default();
    let guard = change(&nothing, &seal.ruleset).guard;
    let arp = change_arp(&nothing, &seal.ruleset);
    let links = host.list_links().await;
    let pods = links
        .as_deref()
        .map(|links| pods_are_behind(links, settings))
        .unwrap_or_default();
    NodeReading {
        rehearsal: host.rehearse(&guard).await,
        arp: host.rehearse(&arp).await,
        ruleset: host.ruleset().await.map(|listing| Foreign::of(&listing)),
        module_marks: host.module_marks().await,
        bypasses: host.bypasses(&pods).await,
        tcx: host.knows_tcx().await,
        links,
        rules: host.every_rule().await,
        routes: host.list_routes().await,
        uplinks: host.default_uplinks().await,
        ipsec: host.ipsec().await,
        flows: host.flow_tracking().await,
        wireguard: host.knows_wireguard().await,
        tun: host.tunnel_backend().await,
        files: Files::below(Path::new("/proc")),
    }
}
