//! The events that have to be shown, by the run that shows them.

/// A run and its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name: the folder of its `proof.json`.
    pub name: &'static str,
    /// Every event that it has to show.
    pub events: &'static [&'static str],
}

/// Every run. A run that does not show one of its events fails, and so does the whole when a run is absent.
pub const RUNS: &[Run] = &[
    Run {
        name: "processes",
        events: &[
            "policy applied while they send",
            "tunnel process killed",
            "tunnel process of the gateway killed",
            "tunnel device deleted",
            "agent killed and restarted",
            "our tables deleted by somebody else",
            "the whole ruleset flushed by somebody else",
        ],
    },
    Run {
        name: "owned-objects",
        events: &[
            "guard chain flushed",
            "base chain deleted",
            "guard rule deleted",
            "foreign rule inserted",
            "policy of a chain changed to drop",
            "element of from4 removed",
            "element of steer4 removed",
            "element of last4 removed",
            "element of lease removed",
            "element of the bridge's bind4 removed",
            "ARP table deleted",
            "ARP chain flushed",
            "routing rule by mark removed",
            "routing rule by source removed",
            "route into the tunnel removed",
            "unreachable route removed",
            "XFRM policy removed",
            "XFRM policy turned into an allow",
            "every XFRM policy flushed",
            "tunnel address removed",
            "device setting changed",
            "device set down",
            "tunnel peer removed",
        ],
    },
    Run {
        name: "exits",
        events: &["policy moved to another exit", "exit deleted"],
    },
    Run {
        name: "policies",
        events: &[
            "policy made stricter on established flows",
            "service with endpoints in the world",
        ],
    },
    Run {
        name: "lease",
        events: &[
            "agent dead until the lease runs out",
            "publisher away until the intents run out",
        ],
    },
    Run {
        name: "local-exit",
        events: &[
            "policy applied to a pod on its own active gateway",
            "our tables deleted at the gateway",
            "the whole ruleset flushed at the gateway",
        ],
    },
];

/// Runs on a real API server, which have a suite of their own.
pub const CLUSTER_RUNS: &[Run] = &[
    Run {
        name: "line-away",
        events: &[
            "API server away, an agent restarted meanwhile",
            "store away",
            "watches of the node cut",
            "leading operator killed",
            "leading operator hung over its lease and resumed",
        ],
    },
    Run {
        name: "namespace-gone",
        events: &[
            "namespace deleted while no kubelet is there",
            "its pods deleted by force while they send",
        ],
    },
    Run {
        name: "uninstallation",
        events: &["Postern uninstalled in order"],
    },
];

/// Runs on a real API server that disturb it for minutes, `make controlplane-long`, or need upstream kubelets,
/// `make cluster`. Where they were not run they are not asked for.
pub const LONG_RUNS: &[Run] = &[
    Run {
        name: "kubelets",
        events: &[
            "samples applied while they send",
            "agent's pod deleted",
            "tunnel's pod deleted",
            "kubelet restarted",
            "release upgraded",
            "release removed",
        ],
    },
    Run {
        name: "store-set-back",
        events: &[
            "store set back to before the policy",
            "policy applied again, nodes approved",
            "store set back with later revisions",
        ],
    },
    Run {
        name: "facts-set-back",
        events: &["facts set back"],
    },
    Run {
        name: "intents-gone",
        events: &[
            "intents deleted while the leader lives",
            "intents deleted while no operator is there",
            "nodes approved after their intents went",
            "definition of policies deleted and applied again",
            "all definitions deleted and applied again with the policies",
        ],
    },
    Run {
        name: "keys",
        events: &[
            "key rotated while an agent is away",
            "agent back: the old key goes",
            "operator reinstalled, signing key lost",
        ],
    },
    Run {
        name: "leaders",
        events: &[
            "a leader that hung is back beside the next one, twice",
            "half of all answers are 409",
            "half of all answers are 410",
            "half of all answers are 429",
            "half of all answers are 500",
            "watches three seconds late, and cut",
        ],
    },
];

/// Runs that show no series of events: what leaks when blocks are taken out.
pub const ABLATIONS: [&str; 4] = [
    "ablation-tunnel-killed",
    "ablation-device-deleted",
    "ablation-policy-changed",
    "tables-and-lock",
];

/// The events of a run; none for one that is not listed.
#[must_use]
pub(super) fn listed(run: &str) -> &'static [&'static str] {
    let mut runs = RUNS.iter().chain(CLUSTER_RUNS).chain(LONG_RUNS);
    let found = runs.find(|other| other.name == run);
    found.map(|run| run.events).unwrap_or_default()
}
